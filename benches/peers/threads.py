"""Threads of the process before and while 1,000 live requests wait for slow providers."""

import socket
import time

import machine
from fanout import CONFIG, simulator

WAITING = 1000
REQUEST = b"GET /resumen?fresh=1&timeout=6 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def run(bench, _arguments):
    port = machine.free_port()
    slow = f"http://127.0.0.1:{simulator(bench).port}/btc?delay=5s"
    path = bench.write("threads.toml", CONFIG.format(port=port) + f'[sources.slow]\nurl = "{slow}"\n')
    command = [bench.binary, "serve", "--config", path]
    server = machine.Process(command, core=machine.SERVER_CORE, log=bench.folder / "threads.log").listens(port)
    with server:
        time.sleep(6)  # the first round
        before, memory = machine.threads(server.pid), machine.memory_bytes(server.pids())[0]
        waiting = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(WAITING)]
        for stream in waiting:
            stream.sendall(REQUEST)
        time.sleep(1)
        during, swollen = machine.threads(server.pid), machine.memory_bytes(server.pids())[0]
        first = [stream.recv(64)[:12] for stream in waiting]
        assert first == [b"HTTP/1.1 200"] * WAITING, set(first)
    print(f"threads at rest: {before}, while {WAITING:,} live requests wait: {during}")
    print(f"memory at rest: {memory / 2**20:.1f} MiB, meanwhile: {swollen / 2**20:.1f} MiB")
