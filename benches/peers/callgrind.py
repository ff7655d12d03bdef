"""Instructions per request, counted by valgrind: without noise, but in user space only."""

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

# The service starts its own program as filter workers, by `/proc/self/exe`. Under valgrind that is valgrind, which refuses to
# be started so. This library gives the program's path instead.
OWN_PROGRAM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static const char *path_of(const char *file) { return strcmp(file, "/proc/self/exe") ? file : getenv("OWN_PROGRAM"); }
int execvp(const char *file, char *const arguments[]) {
    int (*next)(const char *, char *const[]) = dlsym(RTLD_NEXT, "execvp");
    return next(path_of(file), arguments);
}
int posix_spawnp(pid_t *id, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const arguments[], char *const environment[]) {
    int (*next)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                char *const[]) = dlsym(RTLD_NEXT, "posix_spawnp");
    return next(id, path_of(file), actions, attributes, arguments, environment);
}
"""

# Functions that run once per rendering, at most every 20 ms. Under valgrind, which is about fifty times slower, that would
# be every few requests; their instructions are subtracted.
PER_RENDERING = ["resumen::server::problem::catch_panic", "resumen::server::response::encode_response"]


def send_requests(port, path, headers, count):
    """Sends `count` requests on one connection, one after the other."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 60) as stream:
        for _ in range(count):
            stream.sendall(request)
            data = stream.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            remaining = int(header(head.decode("latin-1"), "content-length")) - len(body)
            while remaining > 0:
                remaining -= len(stream.recv(65536))


def terminate(process, port):
    """Sends SIGTERM and waits. Connections wake a server that received the signal just before it went to sleep."""
    time.sleep(0.5)
    process.child.terminate()
    for _ in range(60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.child.wait(1)
            return
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
    raise SystemExit(f"{process.command} does not terminate")


def count_instructions(folder, name, command, port, path, headers, requests):
    """Returns the instructions of a run with `requests` requests, and those of PER_RENDERING among them."""
    out = folder / f"callgrind.{name}.{requests}"
    library = folder / "own_program.so"
    if not library.exists():
        compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(compiler, input=OWN_PROGRAM, text=True, check=True)
    tool = ["env", f"LD_PRELOAD={library}", f"OWN_PROGRAM={command[0]}"]
    tool += ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    process = Process(tool + [str(word) for word in command], log=folder / f"{name}.valgrind.log")
    with process.wait_until_listening(port, 120):
        send_requests(port, path, {}, 20)
        time.sleep(0.5)
        send_requests(port, path, headers, requests)
        terminate(process, port)
    annotate = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", out]
    report = subprocess.run(annotate, capture_output=True, text=True).stdout
    number = lambda match: int(match[1].replace(",", "")) if match else 0
    total = number(re.search(r"^\s*([\d,]+).*PROGRAM TOTALS", report, re.M))
    rendering = sum(number(re.search(rf"^\s*([\d,]+).*:{name}\b", report, re.M)) for name in PER_RENDERING)
    return total, rendering


def instructions(bench):
    """Returns name → instructions per request of each single-process server."""
    if not shutil.which("valgrind"):
        return {}
    results = {}
    for name, command, port, path in single_process_servers(bench):
        for kind, headers in [("", {}), (", browser", BROWSER)]:
            (few, few_rendering), (many, many_rendering) = (
                count_instructions(bench.folder, name, command, port, path, headers, requests) for requests in (FEW, MANY))
            # The difference of two runs: start and stop cancel out.
            results[name + kind] = (many - few - (many_rendering - few_rendering)) / (MANY - FEW)
    return results


def single_process_servers(bench):
    """Yields name, command, port and path of each server."""
    port = free_port()
    text = SOURCES.format(port=port, provider=bench.get("provider").port, pace='interval = "1h"\ntimeout = "20s"',
                          connections=100, tls="")
    path = bench.write("callgrind.toml", text)
    yield "resumen", [bench.binary, "serve", "--config", path], port, "/resumen"
    if bench.bare.exists():
        response, port = bench.get("bare").process.command[-1], free_port()
        yield "no-parse loop", [bench.bare, f"127.0.0.1:{port}", response], port, "/resumen"
    for name, server, http in [("nginx return", bench.constant(), ""), ("nginx proxy_cache", bench.caching(), NGINX_CACHE_HTTP)]:
        port, command = bench.nginx_command(f"callgrind {name}", server, http, "master_process off;")
        yield name, command, port, "/resumen"
