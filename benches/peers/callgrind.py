"""Instructions per request, counted by valgrind: free of noise, but user space only."""

import re
import shutil
import socket
import subprocess
import time

from load import BROWSER, header
from machine import Process, free_port
from servers import NGINX_CACHE_HTTP, SOURCES

FEW, MANY = 500, 2500


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


def count(folder, name, command, port, path, headers, requests):
    """Instructions of a whole run with so many requests, and those of rendering among them."""
    out = folder / f"callgrind.{name}.{requests}"
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with Process(tool + [str(word) for word in command], log=folder / f"{name}.valgrind.log").listens(port, 120) as run:
        ask(port, path, {}, 20)
        time.sleep(0.5)
        ask(port, path, headers, requests)
        run.child.terminate()
        run.child.wait(60)
    said = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True, text=True)
    total = re.search(r"^\s*([\d,]+).*PROGRAM TOTALS", said.stdout, re.M)
    render = re.search(r"^\s*([\d,]+).*:resumen::render::rendering::render\b", said.stdout, re.M)
    number = lambda found: int(found[1].replace(",", "")) if found else 0
    return number(total), number(render)


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
    text = SOURCES.format(port=port, provider=bench.get("provider").port, pace='interval = "1h"\ntimeout = "20s"')
    path = bench.write("callgrind.toml", text)
    yield "resumen", [bench.binary, "serve", "--config", path], port, "/resumen"
    for name, server, http in [("nginx return", bench.constant(), ""), ("nginx proxy_cache", bench.caching(), NGINX_CACHE_HTTP)]:
        port, command = bench.nginx_command(f"callgrind {name}", server, http, "master_process off;")
        yield name, command, port, "/resumen"
