"""A simulated service: the readings of its responses at any instant, and their cache lifetimes."""

import bisect
import random
from dataclasses import dataclass

JITTER = 0.1  # of the interval, either way


@dataclass(frozen=True)
class Source:
    """A source: its interval and the latency of its providers, in seconds."""

    interval: float
    latency: float = 0.2


@dataclass(frozen=True)
class Copy:
    """One response: the time of its creation, max-age, and stale-while-revalidate, in seconds."""

    written: float
    max_age: float
    revalidate: float
    fetched: tuple  # per source, the start of the attempt that gave the reading

    @property
    def expires(self):
        return self.written + self.max_age


class Origin:
    """The attempts of every source: they start at the interval with jitter, and complete after the latency."""

    def __init__(self, sources, duration, seed):
        self.sources, self.duration = sources, duration
        draw = random.Random(seed)
        self._attempts = [simulate_attempts(source, duration, draw) for source in sources]

    def at(self, now):
        """Returns the response at an instant, with the lifetimes of src/render/cache_headers.rs."""
        newest = [attempts[bisect.bisect_right(attempts, (now, float("inf"))) - 1] for attempts in self._attempts]
        remaining = max(0.0, min(planned for _, _, planned in newest) - now)
        max_age = float(int(remaining))
        return Copy(now, max_age, max(max_age, 1.0), tuple(started for _, started, _ in newest))

    def share_of_zero(self, seed, samples=5_000):
        """Returns the share of time with max-age=0: the next refresh is less than a second away or in progress."""
        draw = random.Random(seed)
        return sum(self.at(draw.uniform(0, self.duration)).max_age == 0 for _ in range(samples)) / samples

    def calls(self):
        """Returns the calls to providers per second of one replica, or of replicas that share calls."""
        return sum(len(attempts) for attempts in self._attempts) / self.duration


def simulate_attempts(source, duration, draw):
    """Returns (completion, start, planned start of the next) of each attempt, beginning before time 0."""
    started = -source.interval * draw.random() - source.interval
    attempts = []
    while started < duration:
        completed = started + source.latency * draw.uniform(0.5, 1.5)
        planned = started + source.interval * draw.uniform(1 - JITTER, 1 + JITTER)
        attempts.append((completed, started, planned))
        started = planned
    return attempts
