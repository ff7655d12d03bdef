"""Goodput when five times as many requests come as can be answered, whether `/salud` answers meanwhile, and how soon
all is well again.

The load core could never ask five times what the server's core can answer. So a second process burns most of the
server's core at a higher priority, which leaves the server about a tenth of it: a small machine. Clients are dashboards
that ask on a schedule, each on its kept connection, one question at a time; one that is not answered within its patience
gives up, closes and connects again. Only answers within that patience count.
"""

import errno
import os
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress

from load import fetch
from machine import Process

PATIENCE = 2.0
PERIOD = 0.25  # between two questions of a client
REQUEST = b"GET /resumen HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
END = b"}}"
BURN = "while True: pass"


class Client:
    """One dashboard."""

    __slots__ = ("stream", "due", "asked", "tail", "connected")

    def __init__(self, due):
        self.stream, self.due, self.asked, self.tail, self.connected = None, due, None, b"", False


class Crowd:
    """Many of them."""

    def __init__(self, port, count):
        now = time.monotonic()
        self.port, self.selector = port, selectors.EpollSelector()
        self.clients = [Client(now + PERIOD * number / count) for number in range(count)]
        self.good = self.given_up = self.late = 0
        self.waits = []

    def run(self, seconds):
        """Answers in time, per second."""
        end = begun = time.monotonic()
        end += seconds
        good = self.good
        while (now := time.monotonic()) < end:
            for key, _ in self.selector.select(0.001):
                self.readable(key.data, now)
            for client in self.clients:
                if client.asked is None:
                    if client.due <= now:
                        self.ask(client, now)
                elif now - client.asked > PATIENCE:
                    self.given_up += 1
                    self.close(client)
        return (self.good - good) / (time.monotonic() - begun)

    def ask(self, client, now):
        client.asked, client.due = now, max(client.due + PERIOD, now)
        try:
            if client.stream is None:
                client.stream = socket.socket()
                client.stream.setblocking(False)
                client.stream.connect_ex(("127.0.0.1", self.port))
                self.selector.register(client.stream, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
                client.connected = False
            else:
                client.stream.send(REQUEST)
        except OSError:
            self.close(client)

    def readable(self, client, now):
        if client.stream is None:
            return
        try:
            if not client.connected:
                client.stream.send(REQUEST)
                client.connected = True
                self.selector.modify(client.stream, selectors.EVENT_READ, client)
                return
            data = client.stream.recv(65536)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINPROGRESS, errno.ENOTCONN):
                self.close(client)
            return
        if not data:
            self.close(client)
        elif data.endswith(END) and client.asked is not None:
            self.good += 1
            self.waits.append(now - client.asked)
            client.asked = None

    def close(self, client):
        if client.stream is not None:
            with suppress(KeyError, ValueError):
                self.selector.unregister(client.stream)
            client.stream.close()
        client.stream, client.asked, client.connected = None, None, False

    def stop(self):
        for client in self.clients:
            self.close(client)
        self.selector.close()


def peak(port):
    """The most answers per second over crowds of growing size, and the size."""
    best = (0, 0)
    for size in (100, 200, 400, 800, 1600):
        crowd = Crowd(port, size)
        crowd.run(1)
        best = max(best, (crowd.run(3), size))
        crowd.stop()
    return best


class Probe(threading.Thread):
    """Asks `/salud` ten times a second on new connections."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ended, self.took = port, threading.Event(), []
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            begun = time.monotonic()
            status, _, _ = fetch(self.port, "/salud")
            assert status == 200, status
            self.took.append(time.monotonic() - begun)

    def stop(self):
        self.ended.set()
        self.join()
        return sorted(self.took)


def recovery(port):
    """Seconds until an answer comes within 100 ms again; None if not soon."""
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        asked = time.monotonic()
        fetch(port, "/resumen")
        if time.monotonic() - asked < 0.1:
            return time.monotonic() - begun
    return None


def run(bench, arguments):
    server = bench.get("ours")
    for pid in server.pids():
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), 10)
    with Process([sys.executable, "-c", BURN]):
        best, size = peak(server.port)
        crowd, probe = Crowd(server.port, int(best * 5 * PERIOD)), Probe(server.port)
        crowd.run(2)
        crowd.waits.clear()
        good = crowd.run(30 if arguments.full else 10)
        took, waits = probe.stop(), sorted(crowd.waits)
        crowd.stop()
        recovered = recovery(server.port)
    print(f"peak: {best:,.0f} answers/s, with {size} clients")
    print(f"asked for five times that by {len(crowd.clients):,} clients: {good:,.0f} answers/s in time, {good / best:.0%} of "
          f"the peak; half within {waits[len(waits) // 2]:.2f} s; {crowd.given_up} questions given up")
    print(f"/salud meanwhile, on new connections: {len(took)} answers, half within {took[len(took) // 2] * 1000:.0f} ms, "
          f"all within {took[-1] * 1000:.0f} ms")
    print(f"well again after {recovered:.2f} s" if recovered is not None else "not well again within 10 s")
    if good < 0.9 * best or recovered is None or recovered > 2:
        sys.exit("overload hurts: below 90 % of the peak, or no recovery within 2 s")
