"""A shared cache that obeys CDN-Cache-Control (RFC 9213): fresh for max-age, then served while one request asks anew."""

import bisect
import dataclasses
import random


class Edge:
    """One cache in front of `upstream`, which is the service or another cache, `rtt` seconds away. It keeps a copy for
    `least` seconds at least.

    Only arrivals that change something are drawn: the first one after a copy has expired. The others, however many, are
    served from what is there, and ages are sampled at random instants, as an arrival at random sees them.
    """

    def __init__(self, upstream, rate, rtt, duration, seed, least=0.0):
        draw = random.Random(seed)
        self._upstream, self.duration = upstream, duration
        self._from, self._copies, self.misses = [], [], 0
        arrived = draw.expovariate(rate)
        while arrived < duration:
            copy = upstream.at(arrived + rtt / 2)
            copy = dataclasses.replace(copy, max_age=max(copy.max_age, least))
            self._from.append(arrived + rtt)
            self._copies.append(copy)
            arrived = max(arrived + rtt, copy.expires) + draw.expovariate(rate)
            self.misses += arrived > copy.expires + copy.revalidate

    @property
    def asked(self):
        """Requests to what is behind it, a second."""
        return len(self._copies) / self.duration

    def at(self, now):
        """The copy that is served at an instant; one that is too old even for that is fetched for whoever comes."""
        place = bisect.bisect_right(self._from, now) - 1
        copy = self._copies[place] if place >= 0 else None
        if copy is None or now > copy.expires + copy.revalidate:
            return self._upstream.at(now)
        return copy


def ages(served, source, duration, seed, samples=10_000, start=0.1):
    """How old a source's value is for clients that arrive at random: sorted seconds."""
    draw = random.Random(seed)
    instants = (draw.uniform(duration * start, duration) for _ in range(samples))
    return sorted(max(0.0, now - served.at(now).fetched[source]) for now in instants)


def percentile(ordered, share):
    """The value that this share of all does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
