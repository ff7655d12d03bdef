"""The tables of docs/scaling.md."""

import fleet
from edge import Edge, ages, percentile
from origin import Origin, Source

DURATION = 300.0  # simulated seconds
SAMPLED = 3       # simulated caches, as a sample of all
REQUEST_RATES = [100, 1_000, 10_000, 100_000, 1_000_000]
CONFIGURATIONS = {
    "3 sources: 15 s, 5 min, 1 h": [Source(15), Source(300), Source(3600)],
    "3 sources at 2 s": [Source(2)] * 3,
    "30 sources at 15 s": [Source(15)] * 30,
    "300 sources at 15 s": [Source(15)] * 300,
}


def calls(assumed):
    """Prints the calls to providers and the load of Redis."""
    rows = []
    for name, sources in CONFIGURATIONS.items():
        for replicas in (1, 3, 10, 100):
            alone = sum(1 / source.interval for source in sources) * replicas
            shared = [fleet.flights(sources, replicas), fleet.commands(sources, replicas), fleet.messages(sources, replicas)]
            rows.append([name, replicas, f"{alone:.2f}", f"{shared[0]:.2f}", *(f"{number:,.1f}" for number in shared[1:])])
    table("Calls to providers, and what Redis has to do for that, a second",
          ["sources", "replicas", "calls, each alone", "calls, sharing", "scripts run by Redis", "messages sent by Redis"], rows)


def without_cdn(assumed):
    """Prints the resources for all requests without a CDN, and the limit that a replica reaches first."""
    rows = []
    for rate in REQUEST_RATES:
        processors = rate * assumed.cpu / 1e6 / assumed.busy
        needs = {
            "processors": processors / assumed.cores,
            "connections": rate * assumed.period / assumed.connections,
            "network": rate * assumed.answer * 8 / 1e9 / assumed.network,
        }
        first = max(needs, key=needs.get)
        connections = rate * assumed.period
        rows.append([f"{rate:,}", f"{connections:,.0f}", f"{connections * assumed.idle / 1024:,.0f} MiB", f"{processors:.2f}",
                     f"{rate * assumed.answer * 8 / 1e9:.3f}", *(round_up(needs[n]) for n in needs), first])
    table("Without a CDN: what a crowd takes, and how many replicas by which limit",
          ["requests/s", "connections", "their memory", "processors", "Gbit/s", "replicas by processors", "by connections",
           "by network", "first limit"], rows)


def behind_cdn(assumed):
    """Prints the requests that reach the service behind caches, and the ages of values for clients."""
    rows = []
    for name, sources in list(CONFIGURATIONS.items())[:3]:
        origin = Origin(sources, DURATION, seed=1)
        share = origin.share_of_zero(seed=3)
        rows.append([name, "any", "none", "all", *spread(ages(origin, 0, DURATION, seed=2))])
        for rate in (10_000, 1_000_000):
            rows.append([name, f"{rate:,}", "do not keep max-age=0", f"{rate * share:,.0f}", "–", "–"])
            for setup, served, upstream_rate in cache_setups(origin, rate, assumed):
                rows.append([name, f"{rate:,}", setup, f"{upstream_rate:,.1f}", *spread(ages(served, 0, DURATION, seed=2))])
    table(f"Behind a CDN of {assumed.pops} caches",
          ["sources", "requests/s", "the caches", "requests/s to the service", "age p50", "age p99"], rows)


def cache_setups(origin, rate, assumed):
    """Yields caches by RFC 5861, caches with a minimum lifetime of 1 s, and the latter behind one more cache (a shield)."""
    each = rate / assumed.pops

    def edges(upstream, count, min_ttl):
        return [Edge(upstream, each, assumed.rtt, DURATION, seed, min_ttl) for seed in range(count)]

    for setup, min_ttl in (("ask anew in the background", 0), ("keep 1 s at least", 1)):
        sample = edges(origin, SAMPLED, min_ttl)
        yield setup, sample[0], sum(edge.upstream_rate for edge in sample) / SAMPLED * assumed.pops
    shield = Edge(origin, rate, assumed.rtt, DURATION, 9, min_ttl=1)
    yield "keep 1 s at least, behind one", edges(shield, 1, 1)[0], shield.upstream_rate


def spread(ordered):
    return [f"{percentile(ordered, 0.5):.2f} s", f"{percentile(ordered, 0.99):.2f} s"]


def cost(assumed):
    """Prints the cost of a million requests."""
    seconds = assumed.cpu  # µs per request = seconds per million requests
    cpu = seconds / assumed.busy / 3600 * assumed.hour
    sent = assumed.answer * 1e6 / 1e9
    table("What a million requests cost", ["", "amount", "dollars"], [
        ["processor", f"{seconds:.1f} s, at {assumed.busy:.0%} of a processor", f"{cpu:.6f}"],
        ["network", f"{sent:.2f} GB", f"{sent * assumed.gigabyte:.4f}"],
    ])


def round_up(number):
    return f"{max(1, -(-number // 1)):,.0f}"


def table(title, head, rows):
    """Prints a table as Markdown."""
    print(f"\n#### {title}\n\n| {' | '.join(head)} |\n| {' | '.join(['---'] + ['--:'] * (len(head) - 1))} |")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
