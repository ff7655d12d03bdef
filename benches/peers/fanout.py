"""Overhead of a live fan-out over its slowest provider, compared with the original design. The providers are the program's
simulator on the core of the load; each response is delayed by 100 ms."""

import subprocess
import sys
import time
from http.client import HTTPConnection
from statistics import median

from machine import LOAD_CORE, cpu_seconds, free_port
from report import line
from servers import HERE

DELAY = 0.1

CONFIG = """
[store]
path = ""
[server]
listen = "127.0.0.1:{port}"
[defaults]
interval = "1h"
min_interval = "1ms"
timeout = "10s"
"""

# One connection for each source, as builds without this key had it.
LIMIT = "max_per_host = 1000\n"


def simulator(bench):
    if "simulator" not in bench.servers:
        port = free_port()
        command = [bench.binary, "simulate", "--listen", f"127.0.0.1:{port}"]
        bench.servers["simulator"] = bench.start("simulator", command, port, core=LOAD_CORE)
    return bench.servers["simulator"]


def start_resumen(bench, sources, binary):
    port, url = free_port(), f"http://127.0.0.1:{simulator(bench).port}/btc?delay={DELAY * 1000:.0f}ms"
    tables = "".join(f'[sources.s{number}]\nurl = "{url}"\n' for number in range(sources))
    path = bench.write(f"fanout-{sources}.toml", CONFIG.format(port=port) + LIMIT + tables)
    if subprocess.run([binary, "check", "--config", path], capture_output=True).returncode != 0:
        path = bench.write(f"fanout-{sources}.toml", CONFIG.format(port=port) + tables)
    return bench.start(f"resumen with {sources}", [binary, "serve", "--config", path], port), "/resumen?fresh=1"


def start_original(bench, sources):
    port, url = free_port(), f"http://127.0.0.1:{simulator(bench).port}/btc?delay={DELAY * 1000:.0f}ms"
    command = [bench.venv / "bin/python", HERE / "original.py", port, *[url] * sources]
    return bench.start(f"original with {sources}", command, port), "/resumen"


def measure(server, path, rounds):
    """Returns the overheads in seconds, sorted, and the CPU seconds of all rounds."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    overheads, before = [], 0
    for number in range(-3, rounds):  # the first three fill the connection pool
        if number == 0:
            before = cpu_seconds(server.pids())
        started = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        elapsed = time.perf_counter() - started
        assert response.status == 200 and b'"ok":false' not in body.replace(b" ", b""), body[:2000]
        if number >= 0:
            overheads.append(elapsed - DELAY)
    cpu = cpu_seconds(server.pids()) - before
    connection.close()
    return sorted(overheads), cpu


def run(bench, arguments):
    rounds = arguments.rounds or (100 if arguments.full else 25)
    print(f"{rounds} fan-outs each, providers respond after {DELAY * 1000:.0f} ms.\n")
    print(line(["", "sources", "median overhead", "p90", "CPU per upstream call"]))
    print(line(["---", "--:", "--:", "--:", "--:"]), flush=True)
    overheads, _ = measure(simulator(bench), f"/btc?delay={DELAY * 1000:.0f}ms", rounds)
    print(line(["a provider, called directly", "1", f"{median(overheads) * 1000:.2f} ms",
                f"{overheads[int(len(overheads) * 0.9)] * 1000:.2f} ms", ""]), flush=True)
    ours = [("resumen", bench.binary)] + ([("previous", arguments.previous)] if arguments.previous else [])
    kinds = [(name, lambda sources, binary=binary: start_resumen(bench, sources, binary)) for name, binary in ours]
    if not arguments.previous:
        kinds.append(("original", lambda sources: start_original(bench, sources)))
    for sources in (3, 30, 300):
        results = {name: ([], []) for name, _ in kinds}
        # Several starts in turn, so that other load on the machine affects all servers.
        for _ in range(arguments.starts):
            for name, start in kinds:
                server, path = start(sources)
                overheads, cpu = measure(server, path, rounds)
                results[name][0].extend(overheads)
                results[name][1].append(cpu / rounds / sources)
                server.process.stop()
                bench.running.remove(server)
        for name, (overheads, cpus) in results.items():
            overheads.sort()
            print(line([name, str(sources), f"{median(overheads) * 1000:.2f} ms",
                        f"{overheads[int(len(overheads) * 0.9)] * 1000:.2f} ms",
                        f"{median(cpus) * 1e6:.0f} µs"]), flush=True)
    sys.stdout.flush()
