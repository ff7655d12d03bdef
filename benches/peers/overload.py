"""Goodput at five times as many requests as the server can answer, the latency of `/salud` meanwhile, and the time until
recovery.

The core of the load could not send five times what the server's core can answer. The server is therefore stopped most of
the time (SIGSTOP, SIGCONT), which leaves it a few hundredths of its core. A client polls on a fixed schedule, on one
keep-alive connection, one request at a time. After a timeout (`--patience`) it closes the connection and connects again.
Only responses within the timeout count. The peak is the goodput for the same number of clients at a lower rate: the
cost of a request grows with the number of connections for any server, because of the kernel.
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

PERIOD = 0.25  # seconds between two requests of a client
REQUEST = b"GET /resumen HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
END = b"}}"
RUN_SECONDS, STOP_SECONDS = 0.002, 0.058  # duty cycle of the throttled server
MAX_CLIENTS = 8000  # the driver cannot keep the schedule of more
RECOVERED_SECONDS = 0.5  # a response within this time counts as recovery of the throttled server


class Client:
    """A client that polls on one connection."""

    __slots__ = ("stream", "due", "sent_at", "connected")

    def __init__(self, due):
        self.stream, self.due, self.sent_at, self.connected = None, due, None, False


class ClientGroup:
    """Clients whose requests are spread evenly over the period."""

    def __init__(self, port, count, timeout, period=PERIOD):
        now, self.timeout, self.period = time.monotonic(), timeout, period
        self.port, self.selector = port, selectors.EpollSelector()
        self.clients = [Client(now + period * number / count) for number in range(count)]
        self.good = self.timed_out = 0
        self.latencies = []

    def run(self, seconds):
        """Sends for `seconds`. Returns the responses within the timeout, per second."""
        started = time.monotonic()
        end = started + seconds
        good = self.good
        while (now := time.monotonic()) < end:
            for key, _ in self.selector.select(0.001):
                self.receive(key.data, now)
            for client in self.clients:
                if client.sent_at is None:
                    if client.due <= now:
                        self.send(client, now)
                elif now - client.sent_at > self.timeout:
                    self.timed_out += 1
                    self.close(client)
        return (self.good - good) / (time.monotonic() - started)

    def send(self, client, now):
        client.sent_at, client.due = now, max(client.due + self.period, now)
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

    def receive(self, client, now):
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
        elif data.endswith(END) and client.sent_at is not None:
            self.good += 1
            self.latencies.append(now - client.sent_at)
            client.sent_at = None

    def close(self, client):
        if client.stream is not None:
            with suppress(KeyError, ValueError):
                self.selector.unregister(client.stream)
            client.stream.close()
        client.stream, client.sent_at, client.connected = None, None, False

    def stop(self):
        for client in self.clients:
            self.close(client)
        self.selector.close()


def capacity(port, timeout):
    """Returns the highest goodput over growing numbers of clients, and that number. Stops when the goodput falls."""
    best = (0, 0)
    for size in (100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400):
        group = ClientGroup(port, size, timeout)
        group.run(1)
        found = (group.run(4), size)
        group.stop()
        if found[0] < best[0]:
            break
        best = found
    return best


def peak(port, count, timeout):
    """Returns the highest goodput of `count` clients at lower rates."""
    best = 0
    for times in (6, 5, 4, 3):
        group = ClientGroup(port, count, timeout, PERIOD * times)
        group.run(2 * PERIOD * times)
        best = max(best, group.run(4))
        group.stop()
    return best


class Probe(threading.Thread):
    """Requests a path ten times per second, each on a new connection."""

    def __init__(self, port, path):
        super().__init__(daemon=True)
        self.port, self.path, self.ended, self.latencies = port, path, threading.Event(), []
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            started = time.monotonic()
            try:
                assert fetch(self.port, self.path)[0] == 200
                self.latencies.append(time.monotonic() - started)
            except OSError:
                self.latencies.append(float("inf"))

    def stop(self):
        self.ended.set()
        self.join()
        return sorted(self.latencies)


def recovery(port):
    """Returns the seconds until a fast response; None after 10 s."""
    started = time.monotonic()
    while time.monotonic() - started < 10:
        sent_at = time.monotonic()
        with suppress(OSError):
            fetch(port, "/resumen")
        if time.monotonic() - sent_at < RECOVERED_SECONDS:
            return time.monotonic() - started
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
    """Starts a process that alternately stops and continues the process `pid`."""
    return Process([sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.default_int_handler)"
                    + THROTTLE, pid, RUN_SECONDS, STOP_SECONDS], core=LOAD_CORE)


def run(bench, arguments):
    if arguments.peers:
        server, probe_path = bench.get(arguments.peers), "/resumen"
    else:
        server, probe_path = bench.resumen("resumen", 'interval = "1h"', arguments.connections), "/salud"
    with throttle(server.process.pids()[-1]):
        capacity_rate, size = capacity(server.port, arguments.patience)
        count = min(int(capacity_rate * 5 * PERIOD), MAX_CLIENTS)
        best = peak(server.port, count, arguments.patience)
        group = ClientGroup(server.port, count, arguments.patience, count / best / 5)
        probe = Probe(server.port, probe_path)
        group.run(2)
        group.latencies.clear()
        good = group.run(30 if arguments.full else 10)
        probe_latencies, latencies = probe.stop(), sorted(group.latencies) or [float("inf")]
        group.stop()
        recovered = recovery(server.port)
    print(f"capacity: {capacity_rate:,.0f} responses/s for {size} clients; {best:,.0f} for {count:,} at a lower rate")
    print(f"at five times that rate: {good:,.0f} responses/s in time, {good / best:.0%} of the peak; median latency "
          f"{latencies[len(latencies) // 2]:.2f} s; {group.timed_out} requests timed out")
    print(f"{probe_path} meanwhile, on new connections: {len(probe_latencies)} responses, median "
          f"{probe_latencies[len(probe_latencies) // 2] * 1000:.0f} ms, maximum {probe_latencies[-1] * 1000:.0f} ms")
    print(f"recovered after {recovered:.2f} s" if recovered is not None else "not recovered within 10 s")
    if good < 0.9 * best or recovered is None or recovered > 2:
        sys.exit("failed: goodput below 90 % of the peak, or no recovery within 2 s")
