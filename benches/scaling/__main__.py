"""How far it goes: from one box to a million requests a second, with and without a CDN in front.

    python3 benches/scaling                 the tables of docs/scaling.md; less than a minute, the same each time
    python3 benches/scaling --check         the model beside the real service and a real cache (Varnish)
    python3 benches/scaling --help          what it assumes, to be replaced by your own figures
"""

import argparse

import check
import tables
from assumptions import Assumptions


def main():
    arguments = parse()
    assumed = Assumptions(**{name: getattr(arguments, name) for name in Assumptions.names()})
    if arguments.check:
        check.run(arguments.binary)
        return
    for table in (tables.calls, tables.crowd, tables.caches, tables.cost):
        table(assumed)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the real thing; needs Varnish")
    parser.add_argument("--binary", default="target/release/resumen", help="the service that --check measures")
    Assumptions.offer(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
