"""Instructions per request, counted by valgrind: free of noise, but user space only."""

import contextlib
import re
import shutil
import socket
import subprocess
import time

from load import BROWSER, header
from machine import Process, free_port
from servers import NGINX_CACHE_HTTP, SOURCES

FEW, MANY = 500, 2500

# What is done once per rendering, at most every 20 ms, and not per request. Under valgrind, which is some fifty times
# slower, that would be every few requests.
RARE = ["resumen::render::rendering::render", "resumen::http::representation::respond"]


def ask(port, path, headers, count):
    """Requests one after the other on one connection."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 60) as stream:
        for _ in range(count):
            stream.sendall(request)
            data = stream.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            left = int(header(head.decode("latin-1"), "content-length")) - len(body)
            while left > 0:
                left -= len(stream.recv(65536))


def end(run, port):
    """Ends it as a user would. A signal that comes just before it sleeps is noticed when something wakes it."""
    time.sleep(0.5)
    run.child.terminate()
    for _ in range(60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.child.wait(1)
            return
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
    raise SystemExit(f"{run.command} does not end")


def count(folder, name, command, port, path, headers, requests):
    """Instructions of a whole run with so many requests, and the rare ones among them."""
    out = folder / f"callgrind.{name}.{requests}"
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with Process(tool + [str(word) for word in command], log=folder / f"{name}.valgrind.log").listens(port, 120) as run:
        ask(port, path, {}, 20)
        time.sleep(0.5)
        ask(port, path, headers, requests)
        end(run, port)
    said = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True, text=True)
    total = re.search(r"^\s*([\d,]+).*PROGRAM TOTALS", said.stdout, re.M)
    number = lambda found: int(found[1].replace(",", "")) if found else 0
    rare = sum(number(re.search(rf"^\s*([\d,]+).*:{name}\b", said.stdout, re.M)) for name in RARE)
    return number(total), rare


def instructions(bench):
    """Name → instructions per request, for one-process servers."""
    if not shutil.which("valgrind"):
        return {}
    results = {}
    for name, command, port, path in subjects(bench):
        for kind, headers in [("", {}), (", browser", BROWSER)]:
            (few, drawn), (many, redrawn) = (
                count(bench.folder, name, command, port, path, headers, requests) for requests in (FEW, MANY))
            results[name + kind] = (many - few - (redrawn - drawn)) / (MANY - FEW)
    return results


def subjects(bench):
    port = free_port()
    text = SOURCES.format(port=port, provider=bench.get("provider").port, pace='interval = "1h"\ntimeout = "20s"',
                          connections=100)
    path = bench.write("callgrind.toml", text)
    yield "resumen", [bench.binary, "serve", "--config", path], port, "/resumen"
    if bench.bare.exists():
        answer, port = bench.get("bare").process.command[-1], free_port()
        yield "no-parse loop", [bench.bare, f"127.0.0.1:{port}", answer], port, "/resumen"
    for name, server, http in [("nginx return", bench.constant(), ""), ("nginx proxy_cache", bench.caching(), NGINX_CACHE_HTTP)]:
        port, command = bench.nginx_command(f"callgrind {name}", server, http, "master_process off;")
        yield name, command, port, "/resumen"
