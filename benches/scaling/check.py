"""The model beside the real thing: the service on its simulated providers, alone, behind Varnish as a CDN's cache, and as
several replicas on Redis."""

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import client
import fleet
from edge import Edge, ages, percentile
from origin import Origin, Source
from tables import table

INTERVAL, LATENCY, SOURCES = 2.0, 0.3, 3
LEAST = 1        # seconds for which the cache keeps a copy at least
RATE = 40        # requests a second, at random
SECONDS = 60     # of each measurement
REPLICAS = 3
RTT = 0.05       # between the cache and the service
MODELLED = 2000  # seconds

CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"
[store]
path = ""
redis = "{redis}"
[defaults]
interval = "{interval}s"
timeout = "1s"
"""
SOURCE = """
[sources.s{number}]
url = "http://127.0.0.1:{providers}/btc?delay={least}ms&jitter={more}ms"
"""


def run(binary):
    """Measures, models, and prints both."""
    for program, package in (("varnishd", "varnish"), ("redis-server", "redis-server")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: apt-get install {package}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resumen-scaling-")))
        providers, redis, port, far, cache, *replicas = client.free_ports(5 + REPLICAS)
        stack.enter_context(client.process(binary, "simulate", "--listen", f"127.0.0.1:{providers}"))
        with serving(binary, folder, providers, [port]), varnish(folder, far, cache):
            rows = asyncio.run(compare(port, far, cache))
        with client.process("redis-server", "--port", str(redis), "--save", "", "--dir", str(folder)):
            with serving(binary, folder, providers, replicas, f"redis://127.0.0.1:{redis}"):
                rows += asyncio.run(share(replicas, redis))
        table(f"{SOURCES} sources every {INTERVAL:.0f} s, {RATE} requests a second for {SECONDS} s", ["", "measured", "model"], rows)


@contextlib.contextmanager
def serving(binary, folder, providers, ports, redis=""):
    """The service, once for each port."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            path = folder / f"{port}.toml"
            path.write_text(configuration(port, providers, redis))
            stack.enter_context(client.process(binary, "--config", str(path)))
        yield


def varnish(folder, far, cache):
    """Varnish as a CDN's cache."""
    text = (Path(__file__).parent / "cdn.vcl").read_text().replace("PORT", str(far)).replace("LEAST", str(LEAST))
    (folder / "cdn.vcl").write_text(text)
    return client.process("varnishd", "-F", "-j", "none", "-a", f"127.0.0.1:{cache}", "-f", str(folder / "cdn.vcl"),
                          "-n", str(folder / "varnish"), "-s", "malloc,16m")


def configuration(port, providers, redis):
    least, more = int(LATENCY * 500), int(LATENCY * 1000)
    each = (SOURCE.format(number=n, providers=providers, least=least, more=more) for n in range(SOURCES))
    return CONFIGURATION.format(port=port, interval=int(INTERVAL), redis=redis) + "".join(each)


async def share(ports, redis):
    """Counts what several replicas call, and what Redis does, without any client."""
    for port in (*ports, redis):
        await client.listening(port)
    await asyncio.sleep(3 * INTERVAL)
    sources = [Source(INTERVAL, LATENCY)] * SOURCES

    async def totals():
        calls = [(await client.counts(port))[0] for port in ports]
        return sum(calls), *await client.redis_counts(redis)

    before, start = await totals(), time.monotonic()
    await asyncio.sleep(SECONDS)
    rates = [(now - then) / (time.monotonic() - start) for now, then in zip(await totals(), before, strict=True)]
    models = [fleet.flights(sources, REPLICAS), fleet.commands(sources, REPLICAS)]
    names = ["calls to providers a second", "scripts run by Redis a second"]
    return [[f"{REPLICAS} replicas: {name}", f"{rate:.2f}", f"{model:.2f}"]
            for name, rate, model in zip(names, rates, models, strict=True)]


async def compare(port, far, cache):
    """Prints what was measured beside what the model says."""
    await client.listening(port)
    await client.listening(cache)
    delayed = await client.delay(far, port, RTT / 2)
    await asyncio.sleep(3 * INTERVAL)
    origin = Origin([Source(INTERVAL, LATENCY)] * SOURCES, MODELLED, seed=3)
    edge = Edge(origin, RATE, RTT, MODELLED, seed=4, least=LEAST)
    rows = []
    for name, where, model, asked in (("the service", port, origin, RATE), ("behind a cache", cache, edge, edge.asked)):
        before = await client.counts(port)
        start = time.monotonic()
        seen = sorted(await poll(where))
        took = time.monotonic() - start
        calls, requests = (now - then for now, then in zip(await client.counts(port), before, strict=True))
        said = ages(model, 0, MODELLED, seed=5)
        rows += [
            [f"{name}: calls to providers a second", f"{calls / took:.2f}", f"{origin.calls():.2f}"],
            [f"{name}: requests a second that reach it", f"{requests / took:.1f}", f"{asked:.1f}"],
            [f"{name}: age p50", f"{percentile(seen, 0.5):.2f} s", f"{percentile(said, 0.5):.2f} s"],
            [f"{name}: age p99", f"{percentile(seen, 0.99):.2f} s", f"{percentile(said, 0.99):.2f} s"],
        ]
    delayed.close()
    return rows


async def poll(port):
    """Asks at random instants; the ages that the clients saw, in seconds."""
    draw, tasks, end = random.Random(6), [], time.monotonic() + SECONDS
    due = time.monotonic()
    while (due := due + draw.expovariate(RATE)) < end:
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(client.age(port, "s0")))
    return await asyncio.gather(*tasks)
