"""Load by wrk, single requests, and idle connections."""

import json
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from machine import SERVER_CORE, CoreUsage, cpu_seconds

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
    """The requests of the clients."""

    connections: int
    headers: dict = field(default_factory=dict)
    depth: int = 1  # pipelined requests per connection; wrk's latencies are valid only for 1


@dataclass
class Slice:
    """The result of one second of load."""

    requests: int
    errors: int
    cpu: float  # seconds of all server processes
    seconds: float
    p50: float  # milliseconds
    p99: float
    p999: float
    steal: float  # share of the server's core that the hypervisor used
    other: float  # share of the server's core that other processes used


def run(url, load, pids, seconds=1):
    """Measures one slice."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", HERE / "report.lua"]
    for name, value in load.headers.items():
        command += ["-H", f"{name}: {value}"]
    command += [url, "--", str(load.depth)]
    core, before = CoreUsage(SERVER_CORE), cpu_seconds(pids)
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20)
    cpu = cpu_seconds(pids) - before
    busy, steal = core.shares()
    match = re.search(r"^RESULT (.*)$", output.stdout, re.M)
    if not match:
        raise SystemExit(f"wrk failed: {output.stdout}{output.stderr}")
    result = json.loads(match[1])
    seconds = result["us"] / 1e6
    return Slice(result["requests"], result["errors"], cpu, seconds, result["p50"] / 1e3, result["p99"] / 1e3,
                 result["p999"] / 1e3, steal, max(0.0, busy - cpu / seconds))


def connect(port, tls=False, timeout=10):
    """Opens a connection. With TLS, the certificate is not verified."""
    stream = socket.create_connection(("127.0.0.1", port), timeout)
    if not tls:
        return stream
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(stream)


def fetch(port, path, headers=None, tls=False):
    """Returns status, head and body of one response, without decoding."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    with connect(port, tls) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Connection: close\r\n\r\n".encode())
        data = b"".join(iter(lambda: stream.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1"), body


def header(head, name):
    match = re.search(rf"^{name}:[ \t]*(.*?)\r?$", head, re.M | re.I)
    return match[1] if match else None


def open_idle(port, path, count, tls=False):
    """Opens connections that stay open after one response each."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    streams = []
    for _ in range(count):
        stream = connect(port, tls, 30)
        stream.sendall(request)
        streams.append(stream)
        if len(streams) % 256 == 0:
            read_responses(streams[-256:])
    read_responses(streams[len(streams) - len(streams) % 256:])
    return streams


def read_responses(streams):
    for stream in streams:
        data = stream.recv(65536)
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"an idle connection got {data[:80]!r}")
        head, _, body = data.partition(b"\r\n\r\n")
        remaining = int(header(head.decode("latin-1"), "content-length") or 0) - len(body)
        while remaining > 0 and (more := stream.recv(65536)):
            remaining -= len(more)
