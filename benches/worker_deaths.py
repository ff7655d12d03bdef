"""Ends filter workers in a service that runs, and prints what the service holds before and after.

    python3 benches/worker_deaths.py [--binary target/release/resumen] [--deaths 10000]

Fails if the processes, descriptors, threads or the memory of the service have grown."""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection

# How a worker ends: by its limit of memory, by its stack, by the deadline of the attempt.
FILTERS = [('"a" * 1000000000', "10s"), ("def f: 1 + f; f", "10s"), ("def f: f; f", "100ms")]

SOURCES = 30

# Resident memory varies by this much between two rounds, in KiB.
MEMORY_TOLERANCE = 4096


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def write_config(folder, port, provider):
    tables = [f'[server]\nlisten = "127.0.0.1:{port}"\n[store]\npath = ""\n[defaults]\ninterval = "1h"\nmin_interval = "1ms"\n']
    for number in range(SOURCES):
        # One source in ten runs until its deadline, which takes longer than the others.
        extract, timeout = FILTERS[2 if number % 10 == 9 else number % 2]
        url = f"http://127.0.0.1:{provider}/btc"
        tables.append(f'[sources.s{number}]\nurl = "{url}"\nextract = {json.dumps(extract)}\ntimeout = "{timeout}"\n')
    path = os.path.join(folder, "resumen.toml")
    with open(path, "w") as file:
        file.writelines(tables)
    return path


def get(port, target):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", target)
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def wait_until_answering(port):
    for _ in range(500):
        try:
            return get(port, "/salud")
        except OSError:
            time.sleep(0.02)
    sys.exit("the program does not start")


def count_deaths(port):
    """Deaths at least: a filter that fails here ends its worker; one that is late may have waited for one."""
    page = get(port, "/metrics")
    values = re.findall(r'^resumen_source_fetches_total\{.*result="extract_failed".*\} (\d+)', page, re.MULTILINE)
    return sum(map(int, values))


def count_workers(pid):
    count = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline") as file:
                count += file.read().split("\0")[1:3] == ["__filters", str(pid)]
        except OSError:
            pass  # It has ended.
    return count


def measure(pid):
    time.sleep(3)  # Idle connections to the provider close after a second.
    with open(f"/proc/{pid}/status") as file:
        status = file.read()
    workers = count_workers(pid)
    return {
        "workers": workers,
        # Without the socket and the process descriptor of each worker.
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")) - 2 * workers,
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "resident KiB": int(re.search(r"VmRSS:\s+(\d+)", status).group(1)),
    }


def end_workers(port, deaths):
    until = count_deaths(port) + deaths
    while count_deaths(port) < until:
        get(port, "/resumen?fresh=1&timeout=30")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", default="target/release/resumen")
    parser.add_argument("--deaths", type=int, default=10_000)
    arguments = parser.parse_args()
    port, provider = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(folder, port, provider)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        simulator = subprocess.Popen([arguments.binary, "simulate", "--listen", f"127.0.0.1:{provider}"], **quiet)
        service = subprocess.Popen([arguments.binary, "serve", "--config", config], **quiet)
        try:
            wait_until_answering(port)
            end_workers(port, 300)
            before, started = measure(service.pid), time.monotonic()
            end_workers(port, arguments.deaths)
            after = measure(service.pid)
            print(f"{arguments.deaths} deaths in {time.monotonic() - started:.0f} s")
            print(f"before: {before}\nafter:  {after}")
        finally:
            for process in (service, simulator):
                process.terminate()
            for process in (service, simulator):
                process.wait()
    is_flat = (
        after["workers"] <= 3
        and after["descriptors"] <= before["descriptors"] + 2
        and after["threads"] <= before["threads"] + 2
        and after["resident KiB"] <= before["resident KiB"] + MEMORY_TOLERANCE
    )
    sys.exit(0 if is_flat else "the service has grown")


main()
