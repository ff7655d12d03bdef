"""CPU per request of serving, beside the peers: slices of one second, one server after the other, over and over."""

from dataclasses import dataclass

import callgrind
import load as wrk
from load import BROWSER, Load, fetch, header, idle
from machine import memory_bytes
from report import line, table

EVERYONE = ["ours", "bare", "constant", "proxy_cache", "haproxy", "varnish", "original", "original_constant"]
# The loop that reads no request answers whatever comes once.
BARE = ["ours", "bare", "constant", "proxy_cache", "haproxy", "varnish"]
CACHES = ["ours", "constant", "proxy_cache", "haproxy", "varnish"]
# haproxy announces the body in its 304, for which wrk then waits for ever.
VALIDATING = ["ours", "constant", "proxy_cache", "varnish"]
PAIR = ["ours", "constant"]

# Slices in which the host took more of the core than this are measured again, a few times at most.
STEAL = 0.01
AGAIN = 3


@dataclass
class Scenario:
    name: str
    load: Load
    servers: list
    quick: bool = False
    headers_of: object = None  # headers that depend on the server


def tagged(server):
    """If-None-Match with the server's own tag."""
    tag = header(fetch(server.port, server.path)[1], "etag")
    return {"If-None-Match": tag} if tag else {}


SCENARIOS = [
    Scenario("identity, 64 connections", Load(64), EVERYONE, quick=True),
    Scenario("browser-like headers, 64 connections", Load(64, BROWSER), BARE, quick=True),
    Scenario("gzip, 64 connections", Load(64, {"Accept-Encoding": "gzip"}), CACHES),
    Scenario("If-None-Match (304), 64 connections", Load(64), VALIDATING, headers_of=tagged),
    Scenario("identity, 1 connection", Load(1), PAIR),
    Scenario("identity, 512 connections", Load(512), BARE, quick=True),
    Scenario("identity, 7,600 connections", Load(7600), ["ours", "bare", "constant"]),
    Scenario("16 requests at once, 64 connections", Load(64, depth=16), CACHES, quick=True),
    Scenario("snapshot swapped 100 times a second, 64 connections", Load(64), ["ours", "storm", "constant"], quick=True),
]


def run_all(bench, scenario, rounds, chosen):
    servers = [bench.get(kind) for kind in scenario.servers if kind in chosen or kind == "storm"]
    loads = {}
    for server in servers:
        extra = scenario.headers_of(server) if scenario.headers_of else {}
        load = scenario.load
        loads[server.name] = Load(load.connections, {**load.headers, **extra}, load.depth)
        if server is not bench.made.get("bare"):  # which never closes
            status = fetch(server.port, server.path, loads[server.name].headers)[0]
            if status not in (200, 304):
                raise SystemExit(f"{server.name} answers {status}")
    slices = {server.name: [] for server in servers}
    dropped = 0
    for _ in range(rounds):
        for server in servers:
            for _ in range(AGAIN):
                one = wrk.run(server.port, server.path, loads[server.name], server.pids())
                if one.steal <= STEAL:
                    slices[server.name].append(one)
                    break
                dropped += 1
    return slices, dropped


def run_idle(bench, chosen, count):
    rows = [line(["", "at rest", f"with {count:,} idle connections", "per connection"]), line(["---", "--:", "--:", "--:"])]
    for kind in EVERYONE:
        if kind not in chosen or kind == "original_constant":
            continue
        server = bench.get(kind)
        path = "/salud" if kind == "original" else server.path
        before, _ = memory_bytes(server.pids())
        held = idle(server.port, path, count)
        after, _ = memory_bytes(server.pids())
        for stream in held:
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
    chosen = arguments.peers.split(",") if arguments.peers else list(EVERYONE)
    if "bare" in chosen and not bench.bare.exists():
        print("No loop that reads no request: `cargo build --release --example bare` makes it.\n")
        chosen.remove("bare")
    for kind in chosen:
        bench.get(kind)
    kind, body = bench.sample()
    print(f"Body: {len(body.encode())} bytes. Slices of 1 s, {rounds} of each server in turn.\n", flush=True)
    for scenario in SCENARIOS:
        wanted = arguments.only in scenario.name if arguments.only else arguments.full or scenario.quick
        if wanted:
            slices, dropped = run_all(bench, scenario, rounds, chosen)
            note = f" ({dropped} slices measured again: the host took the core)" if dropped else ""
            print(f"### {scenario.name}{note}\n\n{table(slices, 'nginx return', scenario.load.depth == 1)}\n", flush=True)
    if not arguments.only or "idle" in arguments.only:
        print(f"### Memory\n\n{run_idle(bench, chosen, 10_000 if arguments.full else 1_000)}\n", flush=True)
    if (arguments.full and not arguments.only) or (arguments.only and "callgrind" in arguments.only):
        print(f"### Instructions in user space\n\n{run_callgrind(bench)}\n", flush=True)
