"""The tables of docs/scaling.md."""

import fleet
from edge import Edge, ages, percentile
from origin import Origin, Source

DURATION = 300.0  # simulated seconds
SAMPLED = 3       # caches that are simulated, for all that there are
CROWDS = [100, 1_000, 10_000, 100_000, 1_000_000]
CONFIGURATIONS = {
    "3 sources: 15 s, 5 min, 1 h": [Source(15), Source(300), Source(3600)],
    "3 sources at 2 s": [Source(2)] * 3,
    "30 sources at 15 s": [Source(15)] * 30,
    "300 sources at 15 s": [Source(15)] * 300,
}


def calls(assumed):
    """Calls to providers, and what Redis does for that."""
    rows = []
    for name, sources in CONFIGURATIONS.items():
        for replicas in (1, 3, 10, 100):
            alone = sum(1 / source.interval for source in sources) * replicas
            shared = [fleet.flights(sources, replicas), fleet.commands(sources, replicas), fleet.messages(sources, replicas)]
            rows.append([name, replicas, f"{alone:.2f}", f"{shared[0]:.2f}", *(f"{number:,.1f}" for number in shared[1:])])
    table("Calls to providers, and what Redis has to do for that, a second",
          ["sources", "replicas", "calls, each alone", "calls, sharing", "scripts run by Redis", "messages sent by Redis"], rows)


def crowd(assumed):
    """What all requests cost if there is no CDN, and which limit is met first by one replica."""
    rows = []
    for rate in CROWDS:
        processors = rate * assumed.cpu / 1e6 / assumed.busy
        needs = {
            "processors": processors / assumed.cores,
            "connections": rate * assumed.period / assumed.connections,
            "network": rate * assumed.answer * 8 / 1e9 / assumed.network,
        }
        first = max(needs, key=needs.get)
        open_ones = rate * assumed.period
        rows.append([f"{rate:,}", f"{open_ones:,.0f}", f"{open_ones * assumed.idle / 1024:,.0f} MiB", f"{processors:.2f}",
                     f"{rate * assumed.answer * 8 / 1e9:.3f}", *(whole(needs[n]) for n in needs), first])
    table("Without a CDN: what a crowd takes, and how many replicas by which limit",
          ["requests/s", "connections", "their memory", "processors", "Gbit/s", "replicas by processors", "by connections",
           "by network", "first limit"], rows)


def caches(assumed):
    """What is left of the crowd behind caches, and how old a value is for clients."""
    rows = []
    for name, sources in list(CONFIGURATIONS.items())[:3]:
        origin = Origin(sources, DURATION, seed=1)
        share = origin.share_of_zero(seed=3)
        rows.append([name, "any", "none", "all", *spread(ages(origin, 0, DURATION, seed=2))])
        for rate in (10_000, 1_000_000):
            rows.append([name, f"{rate:,}", "do not keep max-age=0", f"{rate * share:,.0f}", "–", "–"])
            for way, served, asked in ways(origin, rate, assumed):
                rows.append([name, f"{rate:,}", way, f"{asked:,.1f}", *spread(ages(served, 0, DURATION, seed=2))])
    table(f"Behind a CDN of {assumed.pops} caches",
          ["sources", "requests/s", "the caches", "requests/s to the service", "age p50", "age p99"], rows)


def ways(origin, rate, assumed):
    """Caches as RFC 5861 has it; the same that keep everything for a second at least; and all of them behind one (a shield)."""
    each = rate / assumed.pops

    def edges(upstream, count, least):
        return [Edge(upstream, each, assumed.rtt, DURATION, seed, least) for seed in range(count)]

    for way, least in (("ask anew in the background", 0), ("keep 1 s at least", 1)):
        some = edges(origin, SAMPLED, least)
        yield way, some[0], sum(edge.asked for edge in some) / SAMPLED * assumed.pops
    shield = Edge(origin, rate, assumed.rtt, DURATION, 9, least=1)
    yield "keep 1 s at least, behind one", edges(shield, 1, 1)[0], shield.asked


def spread(ordered):
    return [f"{percentile(ordered, 0.5):.2f} s", f"{percentile(ordered, 0.99):.2f} s"]


def cost(assumed):
    """What a million requests cost."""
    seconds = assumed.cpu  # µs of one request are the seconds of a million
    cpu = seconds / assumed.busy / 3600 * assumed.hour
    sent = assumed.answer * 1e6 / 1e9
    table("What a million requests cost", ["", "amount", "dollars"], [
        ["processor", f"{seconds:.1f} s, at {assumed.busy:.0%} of a processor", f"{cpu:.6f}"],
        ["network", f"{sent:.2f} GB", f"{sent * assumed.gigabyte:.4f}"],
    ])


def whole(number):
    return f"{max(1, -(-number // 1)):,.0f}"


def table(title, head, rows):
    """Prints Markdown."""
    print(f"\n#### {title}\n\n| {' | '.join(head)} |\n| {' | '.join(['---'] + ['--:'] * (len(head) - 1))} |")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
