"""Compares the model with measurements of the service on simulated providers: alone, behind Varnish as the cache of a CDN,
and as replicas on Redis."""

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
MIN_TTL = 1      # minimum lifetime of a copy in the cache, in seconds
RATE = 40        # requests per second, at random instants
SECONDS = 60     # duration of each measurement
REPLICAS = 3
RTT = 0.05       # round-trip time between the cache and the service, in seconds
MODELLED = 2000  # simulated seconds of the model

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
url = "http://127.0.0.1:{providers}/btc?delay={delay}ms&jitter={jitter}ms"
"""


def run(binary):
    """Prints the measured and the modelled figures."""
    for program, package in (("varnishd", "varnish"), ("redis-server", "redis-server")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: apt-get install {package}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resumen-scaling-")))
        providers, redis, port, proxy, cache, *replicas = client.free_ports(5 + REPLICAS)
        stack.enter_context(client.process(binary, "simulate", "--listen", f"127.0.0.1:{providers}"))
        with serving(binary, folder, providers, [port]), varnish(folder, proxy, cache):
            rows = asyncio.run(measure_cache(port, proxy, cache))
        with client.process("redis-server", "--port", str(redis), "--save", "", "--dir", str(folder)):
            with serving(binary, folder, providers, replicas, f"redis://127.0.0.1:{redis}"):
                rows += asyncio.run(measure_replicas(replicas, redis))
        table(f"{SOURCES} sources every {INTERVAL:.0f} s, {RATE} requests a second for {SECONDS} s", ["", "measured", "model"], rows)


@contextlib.contextmanager
def serving(binary, folder, providers, ports, redis=""):
    """Runs one service per port."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            path = folder / f"{port}.toml"
            path.write_text(configuration(port, providers, redis))
            stack.enter_context(client.process(binary, "--config", str(path)))
        yield


def varnish(folder, proxy, cache):
    """Returns the process of Varnish on the port `cache`, with the upstream port `proxy`."""
    text = (Path(__file__).parent / "cdn.vcl").read_text().replace("PORT", str(proxy)).replace("LEAST", str(MIN_TTL))
    (folder / "cdn.vcl").write_text(text)
    return client.process("varnishd", "-F", "-j", "none", "-a", f"127.0.0.1:{cache}", "-f", str(folder / "cdn.vcl"),
                          "-n", str(folder / "varnish"), "-s", "malloc,16m")


def configuration(port, providers, redis):
    # The mean latency of a provider is LATENCY.
    delay, jitter = int(LATENCY * 500), int(LATENCY * 1000)
    each = (SOURCE.format(number=n, providers=providers, delay=delay, jitter=jitter) for n in range(SOURCES))
    return CONFIGURATION.format(port=port, interval=int(INTERVAL), redis=redis) + "".join(each)


async def measure_replicas(ports, redis):
    """Returns the rows for replicas without clients: calls to providers and scripts of Redis."""
    for port in (*ports, redis):
        await client.wait_until_listening(port)
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


async def measure_cache(port, proxy, cache):
    """Returns the rows for the service alone and behind the cache."""
    await client.wait_until_listening(port)
    await client.wait_until_listening(cache)
    delayed = await client.start_delay_proxy(proxy, port, RTT / 2)
    await asyncio.sleep(3 * INTERVAL)
    origin = Origin([Source(INTERVAL, LATENCY)] * SOURCES, MODELLED, seed=3)
    edge = Edge(origin, RATE, RTT, MODELLED, seed=4, min_ttl=MIN_TTL)
    rows = []
    for name, where, model, upstream_rate in (("the service", port, origin, RATE), ("behind a cache", cache, edge, edge.upstream_rate)):
        before = await client.counts(port)
        start = time.monotonic()
        measured = sorted(await poll(where))
        elapsed = time.monotonic() - start
        calls, requests = (now - then for now, then in zip(await client.counts(port), before, strict=True))
        modelled = ages(model, 0, MODELLED, seed=5)
        rows += [
            [f"{name}: calls to providers a second", f"{calls / elapsed:.2f}", f"{origin.calls():.2f}"],
            [f"{name}: requests a second that reach it", f"{requests / elapsed:.1f}", f"{upstream_rate:.1f}"],
            [f"{name}: age p50", f"{percentile(measured, 0.5):.2f} s", f"{percentile(modelled, 0.5):.2f} s"],
            [f"{name}: age p99", f"{percentile(measured, 0.99):.2f} s", f"{percentile(modelled, 0.99):.2f} s"],
        ]
    delayed.close()
    return rows


async def poll(port):
    """Sends requests at random instants. Returns the ages that the clients saw, in seconds."""
    draw, tasks, end = random.Random(6), [], time.monotonic() + SECONDS
    due = time.monotonic()
    while (due := due + draw.expovariate(RATE)) < end:
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(client.age(port, "s0")))
    return await asyncio.gather(*tasks)
