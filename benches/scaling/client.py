"""Processes, connections and questions of the check."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import time
from datetime import datetime


@contextlib.contextmanager
def process(*command):
    """A program for as long as it is needed."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


def free_ports(count):
    """Ports that nobody uses now."""
    with contextlib.ExitStack() as open_ones:
        probes = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def listening(port):
    """Waits until somebody listens there."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            return writer.close()
        await asyncio.sleep(0.1)
    raise TimeoutError(f"nobody listens on port {port}")


async def get(port, path):
    """The body of a 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionError(f"{path} answered {head[:60]!r}")
    return body


async def age(port, source):
    """How old a source's value is when the answer is here: what a panel shows."""
    result = json.loads(await get(port, "/resumen"))["resultados"][source]
    return time.time() - datetime.fromisoformat(result["fetched_at"].replace("Z", "+00:00")).timestamp()


async def counts(port):
    """Calls to providers and requests for /resumen so far, by the service's own metrics."""
    metrics = (await get(port, "/metrics")).decode()
    def total(series):
        return sum(float(value) for value in re.findall(rf"^{series}.* (\S+)$", metrics, re.MULTILINE))
    return total("resumen_source_fetches_total{"), total('resumen_http_requests_total{[^}]*route="/resumen"')


async def redis_counts(port):
    """Scripts that Redis has run so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"INFO commandstats\r\n")
    size = int((await reader.readline())[1:])
    stats = (await reader.readexactly(size)).decode()
    writer.close()
    return (sum(int(calls) for calls in re.findall(r"^cmdstat_evalsha:calls=(\d+)", stats, re.MULTILINE)),)


async def delay(port, target, seconds):
    """Passes connections on, `seconds` later in either direction."""
    async def one_way(reader, writer):
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                await asyncio.sleep(seconds)
                writer.write(block)
        writer.close()

    async def both_ways(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(one_way(reader, far_writer), one_way(far_reader, writer))

    return await asyncio.start_server(both_ways, "127.0.0.1", port)
