"""Goodput when five times as many requests come as can be answered, whether `/salud` answers meanwhile, and how soon
all is well again.

The load core could never ask five times what the server's core can answer. So the server is stopped most of the time
(SIGSTOP, SIGCONT), which leaves it a few hundredths of its core: a very small machine. Clients are dashboards
that ask on a schedule, each on its kept connection, one question at a time; one that is not answered within its patience
gives up, closes and connects again. Only answers within that patience count. The peak is that of as many clients that ask
less often: any server pays more for a request the more connections there are, since the kernel does.
"""

import errno
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress

from load import fetch
from machine import LOAD_CORE, Process

PERIOD = 0.25  # between two questions of a client
REQUEST = b"GET /resumen HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
END = b"}}"
RUNS, STOPS = 0.002, 0.058  # seconds, in turn
MOST = 8000  # clients; more than these could not ask on time either
WELL = 0.5  # an answer within this many seconds is a good one, on such a machine


class Client:
    """One dashboard."""

    __slots__ = ("stream", "due", "asked", "tail", "connected")

    def __init__(self, due):
        self.stream, self.due, self.asked, self.tail, self.connected = None, due, None, b"", False


class Crowd:
    """Many of them."""

    def __init__(self, port, count, patience, period=PERIOD):
        now, self.patience, self.period = time.monotonic(), patience, period
        self.port, self.selector = port, selectors.EpollSelector()
        self.clients = [Client(now + period * number / count) for number in range(count)]
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
                elif now - client.asked > self.patience:
                    self.given_up += 1
                    self.close(client)
        return (self.good - good) / (time.monotonic() - begun)

    def ask(self, client, now):
        client.asked, client.due = now, max(client.due + self.period, now)
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


def capacity(port, patience):
    """The most answers per second over crowds of growing size, and the size: grown until nothing is gained."""
    best = (0, 0)
    for size in (100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400):
        crowd = Crowd(port, size, patience)
        crowd.run(1)
        found = (crowd.run(4), size)
        crowd.stop()
        if found[0] < best[0]:
            break
        best = found
    return best


def peak(port, count, patience):
    """The most answers per second for so many clients that ask less often."""
    best = 0
    for times in (6, 5, 4, 3):
        crowd = Crowd(port, count, patience, PERIOD * times)
        crowd.run(2 * PERIOD * times)
        best = max(best, crowd.run(4))
        crowd.stop()
    return best


class Probe(threading.Thread):
    """Asks a path ten times a second on new connections."""

    def __init__(self, port, path):
        super().__init__(daemon=True)
        self.port, self.path, self.ended, self.took = port, path, threading.Event(), []
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            begun = time.monotonic()
            try:
                assert fetch(self.port, self.path)[0] == 200
                self.took.append(time.monotonic() - begun)
            except OSError:
                self.took.append(float("inf"))

    def stop(self):
        self.ended.set()
        self.join()
        return sorted(self.took)


def recovery(port):
    """Seconds until an answer comes in good time again; None if not soon."""
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        asked = time.monotonic()
        with suppress(OSError):
            fetch(port, "/resumen")
        if time.monotonic() - asked < WELL:
            return time.monotonic() - begun
    return None


THROTTLE = """
import os, signal, sys, time
pid, runs, stops = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
try:
    while True:
        os.kill(pid, signal.SIGCONT); time.sleep(runs)
        os.kill(pid, signal.SIGSTOP); time.sleep(stops)
except BaseException:
    os.kill(pid, signal.SIGCONT)
"""


def throttle(pid):
    """A process that lets that one run now and then."""
    return Process([sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.default_int_handler)"
                    + THROTTLE, pid, RUNS, STOPS], core=LOAD_CORE)


def run(bench, arguments):
    if arguments.peers:
        server, probed = bench.get(arguments.peers), "/resumen"
    else:
        server, probed = bench.resumen("resumen", 'interval = "1h"', arguments.connections), "/salud"
    with throttle(server.process.pids()[-1]):
        alone, size = capacity(server.port, arguments.patience)
        count = min(int(alone * 5 * PERIOD), MOST)
        best = peak(server.port, count, arguments.patience)
        crowd = Crowd(server.port, count, arguments.patience, count / best / 5)
        probe = Probe(server.port, probed)
        crowd.run(2)
        crowd.waits.clear()
        good = crowd.run(30 if arguments.full else 10)
        took, waits = probe.stop(), sorted(crowd.waits) or [float("inf")]
        crowd.stop()
        recovered = recovery(server.port)
    print(f"at most {alone:,.0f} answers/s, for {size} clients, and {best:,.0f} for {count:,} that ask less often")
    print(f"asked for five times that by these: {good:,.0f} answers/s in time, {good / best:.0%} of "
          f"the peak; half within {waits[len(waits) // 2]:.2f} s; {crowd.given_up} questions given up")
    print(f"{probed} meanwhile, on new connections: {len(took)} answers, half within {took[len(took) // 2] * 1000:.0f} ms, "
          f"all within {took[-1] * 1000:.0f} ms")
    print(f"well again after {recovered:.2f} s" if recovered is not None else "not well again within 10 s")
    if good < 0.9 * best or recovered is None or recovered > 2:
        sys.exit("overload hurts: below 90 % of the peak, or no recovery within 2 s")
