"""Load by wrk, and connections that do nothing."""

import json
import re
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from machine import Core, SERVER_CORE, cpu_seconds

HERE = Path(__file__).parent

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "es-AR,es;q=0.9,en;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://127.0.0.1/",
    "sec-ch-ua": '"Chromium";v="141", "Not?A_Brand";v="8"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass
class Load:
    """What clients do."""

    connections: int
    headers: dict = field(default_factory=dict)
    depth: int = 1  # requests written at once on a connection; wrk's latencies mean nothing beyond 1


@dataclass
class Slice:
    """One second of it."""

    requests: int
    errors: int
    cpu: float  # seconds of all server processes
    seconds: float
    p50: float  # milliseconds
    p99: float
    p999: float
    steal: float  # share of the server's core that the host took
    foreign: float  # share of the server's core that other processes took


def run(port, path, load, pids, seconds=1):
    """One slice."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", HERE / "report.lua"]
    for name, value in load.headers.items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{port}{path}", "--", str(load.depth)]
    core, before = Core(SERVER_CORE), cpu_seconds(pids)
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20)
    cpu = cpu_seconds(pids) - before
    busy, steal = core.shares()
    found = re.search(r"^RESULT (.*)$", said.stdout, re.M)
    if not found:
        raise SystemExit(f"wrk failed: {said.stdout}{said.stderr}")
    told = json.loads(found[1])
    wall = told["us"] / 1e6
    return Slice(told["requests"], told["errors"], cpu, wall, told["p50"] / 1e3, told["p99"] / 1e3, told["p999"] / 1e3,
                 steal, max(0.0, busy - cpu / wall))


def fetch(port, path, headers=None):
    """One answer as it comes: status, head, body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Connection: close\r\n\r\n".encode())
        data = b"".join(iter(lambda: stream.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1"), body


def header(head, name):
    found = re.search(rf"^{name}:[ \t]*(.*?)\r?$", head, re.M | re.I)
    return found[1] if found else None


def idle(port, path, count):
    """Connections that were answered once and stay open."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    held = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port), 30)
        stream.sendall(request)
        held.append(stream)
        if len(held) % 256 == 0:
            answered(held[-256:])
    answered(held[len(held) - len(held) % 256:])
    return held


def answered(streams):
    for stream in streams:
        data = stream.recv(65536)
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"an idle connection was answered {data[:80]!r}")
        head, _, body = data.partition(b"\r\n\r\n")
        left = int(header(head.decode("latin-1"), "content-length") or 0) - len(body)
        while left > 0 and (more := stream.recv(65536)):
            left -= len(more)
