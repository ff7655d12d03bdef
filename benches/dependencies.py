#!/usr/bin/env python3
"""What each direct dependency costs: the rows of docs/dependencies.md.

    python3 benches/dependencies.py           builds from nothing in target/dependencies; some seven minutes of CPU time

A dependency's crates are those that would disappear from the build without it, itself included. Build: CPU time of their
compilers (rustc and cc), in the release profile. Size: their machine code in the program of the profile `dist`, by
`cargo bloat`, which has to be installed. Generic code counts for the crate that defines it, as far as symbols tell.
"""

import collections
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "target/dependencies"
LOG = "RESUMEN_COMPILER_TIMES"


def main():
    if LOG in os.environ:
        sys.exit(time_compiler())
    if not shutil.which("cargo-bloat"):
        sys.exit("cargo-bloat is missing: `cargo install cargo-bloat`")
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    log = TARGET / "times"
    wrapper = str(Path(__file__).resolve())
    run("cargo", "build", "--release", "--locked", **{LOG: str(log), "RUSTC_WRAPPER": wrapper, "CC": wrapper})
    report(read_times(log), read_sizes())


def time_compiler():
    """Runs rustc, whose path cargo gives first, or else cc, and logs its CPU time. Returns the exit code."""
    # Descriptors stay open: rustc takes the tokens for its threads from a pipe of cargo.
    is_rustc = Path(sys.argv[1]).name == "rustc" if len(sys.argv) > 1 else False
    code = subprocess.run(sys.argv[1:] if is_rustc else ["cc", *sys.argv[1:]], close_fds=False).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(os.environ[LOG], "a") as log:
        log.write(f"{used.ru_utime + used.ru_stime:.3f} {os.environ.get('CARGO_PKG_NAME', '-')}\n")
    return code


def read_times(log):
    """CPU seconds of each package."""
    times = collections.Counter()
    for line in log.read_text().splitlines():
        seconds, package = line.split()
        times[package] += float(seconds)
    return times


def read_sizes():
    """Bytes of machine code of each crate, by its name in code."""
    output = run("cargo", "bloat", "--profile", "dist", "--crates", "-n", "0", "--message-format", "json", output=True)
    return {crate["name"]: crate["size"] for crate in json.loads(output)["crates"]}


def report(times, sizes):
    names, edges, root = load_graph()
    everything = reach(edges, root, None)
    for dependency in sorted(edges[root], key=names.get):
        own = {names[package] for package in everything - reach(edges, root, dependency)}
        build = sum(times[name] for name in own)
        size = sum(sizes.get(name.replace("-", "_"), 0) for name in own)
        print(f"| `{names[dependency]}` | {len(own)} | {build:.1f} s | {size / 1024:.0f} KiB |")
    print(f"\n{len(everything)} crates, {len(edges[root])} of them direct, {sum(times.values()):.0f} s of CPU time,")
    print(f"{times['resumen']:.0f} s of them for this crate")


def load_graph():
    """The names of all packages, the packages that each of them needs to be built, and the root."""
    host = next(line.split()[1] for line in run("rustc", "-vV", output=True).splitlines() if line.startswith("host:"))
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={host}", output=True))
    edges = {
        node["id"]: {
            dependency["pkg"]
            for dependency in node["deps"]
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        }
        for node in metadata["resolve"]["nodes"]
    }
    return {package["id"]: package["name"] for package in metadata["packages"]}, edges, metadata["resolve"]["root"]


def reach(edges, root, removed):
    """The packages that `root` needs, without those that only `removed` brings."""
    found, pending = {root}, [root]
    while pending:
        for package in edges[pending.pop()] - found - {removed}:
            found.add(package)
            pending.append(package)
    return found


def run(*command, output=False, **variables):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET), **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE if output else None)
    return done.stdout.decode() if output else ""


if __name__ == "__main__":
    main()
