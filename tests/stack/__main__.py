"""The compose stack, tried for real: image and profiles are brought up, questioned, hurt, and taken down again.

    python3 tests/stack                       everything; needs Docker and Compose (v2 or 1.29), some ten minutes
    python3 tests/stack --quick               an image without link-time optimisation, built in a third of the time
    python3 tests/stack --only cluster        one profile: default, live, observability or cluster
    python3 tests/stack --compose docker-compose

It is its own project with its own ports beside a stack that you may have running, and leaves nothing behind but the image.
Exit code: 0 if all checks held, 1 if not. What a machine cannot show (no internet, no image of Grafana) it says.
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
    sys.exit(report.verdict())


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="only this profile; may be given again")
    parser.add_argument("--quick", action="store_true", help="build without link-time optimisation")
    parser.add_argument("--image", help="an image to be tried instead of building one")
    parser.add_argument("--compose", type=str.split, help="how to call Compose [default: the one that is there]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
