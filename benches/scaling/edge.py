"""A simulated shared cache that follows CDN-Cache-Control (RFC 9213): fresh for max-age, then stale-while-revalidate."""

import bisect
import dataclasses
import random


class Edge:
    """One cache in front of `upstream`, the service or another cache, with the round-trip time `rtt`. It keeps a copy for
    at least `min_ttl` seconds.

    Only requests that cause a fetch are simulated: the first after a copy has expired. All others are served from the
    copy; ages are sampled at random instants.
    """

    def __init__(self, upstream, rate, rtt, duration, seed, min_ttl=0.0):
        draw = random.Random(seed)
        self._upstream, self.duration = upstream, duration
        self._from, self._copies, self.misses = [], [], 0
        arrived = draw.expovariate(rate)
        while arrived < duration:
            copy = upstream.at(arrived + rtt / 2)
            copy = dataclasses.replace(copy, max_age=max(copy.max_age, min_ttl))
            self._from.append(arrived + rtt)
            self._copies.append(copy)
            arrived = max(arrived + rtt, copy.expires) + draw.expovariate(rate)
            self.misses += arrived > copy.expires + copy.revalidate

    @property
    def upstream_rate(self):
        """Requests to the upstream per second."""
        return len(self._copies) / self.duration

    def at(self, now):
        """Returns the copy that is served at `now`; fetches one if the copy is too old to be served."""
        index = bisect.bisect_right(self._from, now) - 1
        copy = self._copies[index] if index >= 0 else None
        if copy is None or now > copy.expires + copy.revalidate:
            return self._upstream.at(now)
        return copy


def ages(served, source, duration, seed, samples=10_000, start=0.1):
    """Returns the ages of a source's reading for clients at random instants, in seconds, sorted."""
    draw = random.Random(seed)
    instants = (draw.uniform(duration * start, duration) for _ in range(samples))
    return sorted(max(0.0, now - served.at(now).fetched[source]) for now in instants)


def percentile(ordered, share):
    """Returns the value that `share` of all values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
