"""Tests of the Compose stack with Docker: image, profiles, and faults of the cluster.

    python3 tests/stack                       all tests; needs Docker and Compose (v2 or 1.29), about ten minutes
    python3 tests/stack --quick               an image without link-time optimisation, built in a third of the time
    python3 tests/stack --only cluster        one profile: default, live, observability or cluster
    python3 tests/stack --compose docker-compose

The tests use a separate project with free ports, and remove all but the image at the end. Exit code: 0 if all checks passed,
1 if one failed. Checks that this machine cannot make (no internet, no image of Grafana) are listed.
"""

import argparse
import signal
import sys

import cluster
import profiles
from report import Report
from stack import Stack

PARTS = {
    "default": profiles.default,
    "live": profiles.live,
    "observability": profiles.observability,
    "cluster": cluster.run,
}


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    report = Report()
    with Stack(arguments, report) as stack:
        if not arguments.image:
            stack.build()
        for name in arguments.only or PARTS:
            report.heading(f"profile {name}")
            with stack.up_and_down():
                PARTS[name](stack, report)
    sys.exit(report.summarise())


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="only this profile; may be given again")
    parser.add_argument("--quick", action="store_true", help="build without link-time optimisation")
    parser.add_argument("--image", help="test this image instead of building one")
    parser.add_argument("--compose", type=str.split, help="the Compose command [default: the installed one]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
