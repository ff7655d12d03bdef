"""Processes, connections and requests of --check."""

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
    """Runs a program during the `with` block."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


def free_ports(count):
    """Returns unused ports."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def wait_until_listening(port):
    """Waits until a program listens on `port`."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            return writer.close()
        await asyncio.sleep(0.1)
    raise TimeoutError(f"no program listens on port {port}")


async def get(port, path):
    """Returns the body of a response with status 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionError(f"{path} returned {head[:60]!r}")
    return body


async def age(port, source):
    """Returns the age of a source's reading at the arrival of the response, in seconds."""
    result = json.loads(await get(port, "/resumen"))["resultados"][source]
    return time.time() - datetime.fromisoformat(result["fetched_at"].replace("Z", "+00:00")).timestamp()


async def counts(port):
    """Returns the numbers of calls to providers and of requests for /resumen, from the service's metrics."""
    metrics = (await get(port, "/metrics")).decode()
    def total(series):
        return sum(float(value) for value in re.findall(rf"^{series}.* (\S+)$", metrics, re.MULTILINE))
    return total("resumen_source_fetches_total{"), total('resumen_http_requests_total{[^}]*route="/resumen"')


async def redis_counts(port):
    """Returns the number of scripts that Redis has run."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"INFO commandstats\r\n")
    size = int((await reader.readline())[1:])
    stats = (await reader.readexactly(size)).decode()
    writer.close()
    return (sum(int(calls) for calls in re.findall(r"^cmdstat_evalsha:calls=(\d+)", stats, re.MULTILINE)),)


async def start_delay_proxy(port, target, seconds):
    """Starts a TCP proxy that delays data by `seconds` in each direction."""
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
