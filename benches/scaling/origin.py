"""The service as others see it: which reading of each source it holds at an instant, and how long a cache may keep that."""

import bisect
import random
from dataclasses import dataclass

JITTER = 0.1  # of the interval, either way


@dataclass(frozen=True)
class Source:
    """A source of the configuration, and how long its providers take."""

    interval: float
    latency: float = 0.2


@dataclass(frozen=True)
class Copy:
    """One answer: when it was written, for how long it is fresh, how long it may be served while it is asked for anew."""

    written: float
    max_age: float
    revalidate: float
    fetched: tuple  # per source, when its reading was asked for

    @property
    def expires(self):
        return self.written + self.max_age


class Origin:
    """A timeline of every source: attempts start an interval after one another, with jitter, and land after a while."""

    def __init__(self, sources, duration, seed):
        self.sources, self.duration = sources, duration
        draw = random.Random(seed)
        self._landings = [timeline(source, duration, draw) for source in sources]

    def at(self, now):
        """The answer that is given at an instant, as render/headers.rs makes it."""
        newest = [landings[bisect.bisect_right(landings, (now, float("inf"))) - 1] for landings in self._landings]
        left = max(0.0, min(planned for _, _, planned in newest) - now)
        whole = float(int(left))
        return Copy(now, whole, max(whole, 1.0), tuple(started for _, started, _ in newest))

    def share_of_zero(self, seed, samples=5_000):
        """The share of the time in which the next refresh is less than a second away, or under way: max-age is 0."""
        draw = random.Random(seed)
        return sum(self.at(draw.uniform(0, self.duration)).max_age == 0 for _ in range(samples)) / samples

    def calls(self):
        """Calls to providers a second, if all replicas together make those of one."""
        return sum(len(landings) for landings in self._landings) / self.duration


def timeline(source, duration, draw):
    """(landed, started, next planned start) of each attempt, from well before the start on."""
    started = -source.interval * draw.random() - source.interval
    landings = []
    while started < duration:
        landed = started + source.latency * draw.uniform(0.5, 1.5)
        planned = started + source.interval * draw.uniform(1 - JITTER, 1 + JITTER)
        landings.append((landed, started, planned))
        started = planned
    return landings
