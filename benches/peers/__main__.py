"""Benchmarks of the service and of comparable servers on loopback, with bounded durations.

    python3 benches/peers                 serving, about two minutes
    python3 benches/peers --full          serving, about ten minutes
    python3 benches/peers fanout          live fan-outs of 3, 30 and 300 sources, compared with the original design
    python3 benches/peers overload        goodput at five times the capacity
    python3 benches/peers --install …     installs missing programs first (apt-get, pip); needs root and a network

The measured program is `target/dist/resumen`, built by `cargo build --profile dist`. `cargo build --profile dist --example bare`
builds a server that responds without reading the request: the cost of the kernel alone.
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
from servers import Bench, missing_packages

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target/peers-venv"
AIOHTTP = "aiohttp==3.14.*"


def main():
    arguments = parse()
    if not arguments.binary.exists():
        sys.exit(f"{arguments.binary} is missing: run `cargo build --profile dist` first")
    install_missing(arguments.install)
    machine.prepare_driver()
    with tempfile.TemporaryDirectory(prefix="resumen-peers-") as folder:
        with Bench(Path(folder), arguments.binary, VENV) as bench:
            {"serving": serving, "fanout": fanout, "overload": overload}[arguments.what].run(
                bench, arguments)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="serving", choices=["serving", "fanout", "overload"])
    parser.add_argument("--full", action="store_true", help="more scenarios and longer runs")
    parser.add_argument("--rounds", type=int, help="slices per server and scenario")
    parser.add_argument("--only", help="only scenarios whose name contains this")
    parser.add_argument("--peers", help="only these servers, separated by commas: " + ", ".join(serving.ALL_SERVERS))
    parser.add_argument("--connections", type=int, default=10_000, help="server.max_connections, for overload")
    parser.add_argument("--patience", type=float, default=10, help="client timeout in seconds, for overload")
    parser.add_argument("--install", action="store_true", help="install missing programs")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/dist/resumen", help="program to measure")
    parser.add_argument("--previous", type=Path, help="another build to compare with, for fanout")
    parser.add_argument("--starts", type=int, default=1, help="starts of each server, in turn, for fanout")
    return parser.parse_args()


def install_missing(install):
    """Installs missing programs; without `install`, exits with their names."""
    packages = missing_packages()
    has_venv = (VENV / "bin/python").exists()
    if (packages or not has_venv) and not install:
        missing = packages + ([] if has_venv else [f"{AIOHTTP} in {VENV}"])
        sys.exit(f"missing: {', '.join(missing)}\nrun again with --install, or install them first")
    if packages:
        print("apt-get install", *packages, file=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *packages], check=True, stdout=sys.stderr)
    if not has_venv:
        print("pip install", AIOHTTP, "in", VENV, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", AIOHTTP], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
