"""Benchmarks beside the peers, all on loopback, all bounded in time.

    python3 benches/peers                 serving, about two minutes
    python3 benches/peers --full          serving, about ten minutes
    python3 benches/peers fanout          live fan-outs of 3, 30 and 300 sources, beside the original design
    python3 benches/peers overload        goodput at five times the capacity
    python3 benches/peers --install …     installs what is missing first (apt-get, pip), which needs root and a network

It measures `target/release/resumen`; build that first: `cargo build --release`, and `cargo build --release --example bare`
for a loop that reads no request and answers all the same: what is left of the kernel's work when the server does nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import fanout
import machine
import overload
import serving
from servers import Bench, missing

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target/peers-venv"
AIOHTTP = "aiohttp==3.14.*"


def main():
    arguments = parse()
    if not arguments.binary.exists():
        sys.exit(f"{arguments.binary} is missing: run `cargo build --release` first")
    provide(arguments.install)
    machine.prepare()
    with tempfile.TemporaryDirectory(prefix="resumen-peers-") as folder:
        with Bench(Path(folder), arguments.binary, VENV) as bench:
            {"serving": serving, "fanout": fanout, "overload": overload}[arguments.what].run(
                bench, arguments)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="serving", choices=["serving", "fanout", "overload"])
    parser.add_argument("--full", action="store_true", help="more and longer rounds")
    parser.add_argument("--rounds", type=int, help="slices of each server in each scenario")
    parser.add_argument("--only", help="only scenarios whose name holds this")
    parser.add_argument("--peers", help="only these servers, with commas: " + ", ".join(serving.EVERYONE))
    parser.add_argument("--connections", type=int, default=10_000, help="max_connections of the service, for overload")
    parser.add_argument("--patience", type=float, default=10, help="seconds until a client gives up, for overload")
    parser.add_argument("--install", action="store_true", help="install what is missing")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/resumen", help="what to measure")
    return parser.parse_args()


def provide(install):
    packages = missing()
    python = (VENV / "bin/python").exists()
    if (packages or not python) and not install:
        wanted = packages + ([] if python else [f"{AIOHTTP} in {VENV}"])
        sys.exit(f"missing: {', '.join(wanted)}\nrun again with --install, or install them yourself")
    if packages:
        print("apt-get install", *packages, file=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *packages], check=True, stdout=sys.stderr)
    if not python:
        print("pip install", AIOHTTP, "in", VENV, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", AIOHTTP], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
