"""A model of the capacity, from one machine to a million requests per second, with and without a CDN.

    python3 benches/scaling                 prints the tables of docs/scaling.md; deterministic, less than a minute
    python3 benches/scaling --check         compares the model with the service, Varnish and Redis
    python3 benches/scaling --help          lists the assumptions, which are options
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
    for table in (tables.calls, tables.without_cdn, tables.behind_cdn, tables.cost):
        table(assumed)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with measurements; needs Varnish and Redis")
    parser.add_argument("--binary", default="target/dist/resumen", help="program that --check measures")
    Assumptions.add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
