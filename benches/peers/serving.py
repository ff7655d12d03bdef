"""CPU per request, compared with other servers: the servers are measured in turn, in slices of one second."""

from dataclasses import dataclass

import callgrind
import load as wrk
from load import BROWSER, Load, fetch, header, open_idle
from machine import memory_bytes
from report import line, table

TLS_PAIR = ["ours_tls", "constant_tls"]
PLAIN_SERVERS = ["ours", "bare", "constant", "proxy_cache", "haproxy", "varnish", "original", "original_constant"]
ALL_SERVERS = PLAIN_SERVERS + TLS_PAIR
# Scenarios that the no-parse loop can serve: it sends one response per read.
WITH_BARE = ["ours", "bare", "constant", "proxy_cache", "haproxy", "varnish"]
CACHES = ["ours", "constant", "proxy_cache", "haproxy", "varnish"]
# Without haproxy: its 304 has a Content-Length, and wrk waits for that body.
VALIDATING = ["ours", "constant", "proxy_cache", "varnish"]
PAIR = ["ours", "constant"]

# A slice with more steal than MAX_STEAL is measured again, at most MAX_ATTEMPTS times in all.
MAX_STEAL = 0.01
MAX_ATTEMPTS = 3


@dataclass
class Scenario:
    name: str
    load: Load
    servers: list
    quick: bool = False
    headers_of: object = None  # function: server → additional headers
    unit: str = "nginx return"  # the server with ratio 1


def etag_headers(server):
    """Returns If-None-Match with the ETag of the server's response."""
    tag = header(fetch(server.port, server.path)[1], "etag")
    return {"If-None-Match": tag} if tag else {}


SCENARIOS = [
    Scenario("identity, 64 connections", Load(64), PLAIN_SERVERS, quick=True),
    Scenario("identity by TLS, 64 connections", Load(64), TLS_PAIR, quick=True, unit="nginx return, TLS"),
    Scenario("browser-like headers, 64 connections", Load(64, BROWSER), WITH_BARE, quick=True),
    Scenario("gzip, 64 connections", Load(64, {"Accept-Encoding": "gzip"}), CACHES),
    Scenario("If-None-Match (304), 64 connections", Load(64), VALIDATING, headers_of=etag_headers),
    Scenario("identity, 1 connection", Load(1), PAIR),
    Scenario("identity, 512 connections", Load(512), WITH_BARE, quick=True),
    Scenario("identity, 7,600 connections", Load(7600), ["ours", "bare", "constant"]),
    Scenario("16 requests at once, 64 connections", Load(64, depth=16), CACHES, quick=True),
    Scenario("snapshot swapped 100 times a second, 64 connections", Load(64), ["ours", "storm", "constant"], quick=True),
]


def run_all(bench, scenario, rounds, selected):
    servers = [bench.get(kind) for kind in scenario.servers if kind in selected or kind == "storm"]
    loads = {}
    for server in servers:
        extra = scenario.headers_of(server) if scenario.headers_of else {}
        load = scenario.load
        loads[server.name] = Load(load.connections, {**load.headers, **extra}, load.depth)
        if server is not bench.servers.get("bare"):  # it never closes a connection, so `fetch` would wait
            status = fetch(server.port, server.path, loads[server.name].headers, server.tls)[0]
            if status not in (200, 304):
                raise SystemExit(f"{server.name} returns {status}")
    slices = {server.name: [] for server in servers}
    dropped = 0
    for _ in range(rounds):
        for server in servers:
            for _ in range(MAX_ATTEMPTS):
                measured = wrk.run(server.url(), loads[server.name], server.pids())
                if measured.steal <= MAX_STEAL:
                    slices[server.name].append(measured)
                    break
                dropped += 1
    return slices, dropped


def run_idle(bench, selected, count):
    rows = [line(["", "at rest", f"with {count:,} idle connections", "per connection"]), line(["---", "--:", "--:", "--:"])]
    for kind in ALL_SERVERS:
        if kind not in selected or kind == "original_constant":
            continue
        server = bench.get(kind)
        path = "/salud" if kind == "original" else server.path
        before, _ = memory_bytes(server.pids())
        streams = open_idle(server.port, path, count, server.tls)
        after, _ = memory_bytes(server.pids())
        for stream in streams:
            stream.close()
        mib = lambda size: f"{size / 2**20:.1f} MiB"
        rows.append(line([server.name, mib(before), mib(after), f"{(after - before) / count / 1024:.1f} KiB"]))
    return "\n".join(rows)


def run_callgrind(bench):
    counted = callgrind.instructions(bench)
    base = counted.get("nginx return")
    rows = [line(["", "instructions per request", "× nginx `return`"]), line(["---", "--:", "--:"])]
    rows += [line([name, f"{value:,.0f}", f"{value / base:.2f}"]) for name, value in counted.items()]
    return "\n".join(rows)


def run(bench, arguments):
    rounds = arguments.rounds or (8 if arguments.full else 2)
    selected = arguments.peers.split(",") if arguments.peers else list(ALL_SERVERS)
    if "bare" in selected and not bench.bare.exists():
        print("The no-parse loop is missing: `cargo build --profile dist --example bare` builds it.\n")
        selected.remove("bare")
    for kind in selected:
        bench.get(kind)
    kind, body = bench.sample()
    print(f"Body: {len(body.encode())} bytes. {rounds} slices of 1 s per server, in turn.\n", flush=True)
    for scenario in SCENARIOS:
        wanted = arguments.only in scenario.name if arguments.only else arguments.full or scenario.quick
        if wanted:
            slices, dropped = run_all(bench, scenario, rounds, selected)
            note = f" ({dropped} slices measured again because of steal)" if dropped else ""
            print(f"### {scenario.name}{note}\n\n{table(slices, scenario.unit, scenario.load.depth == 1)}\n", flush=True)
    if not arguments.only or "idle" in arguments.only:
        print(f"### Memory\n\n{run_idle(bench, selected, 10_000 if arguments.full else 1_000)}\n", flush=True)
    if (arguments.full and not arguments.only) or (arguments.only and "callgrind" in arguments.only):
        print(f"### Instructions in user space\n\n{run_callgrind(bench)}\n", flush=True)
