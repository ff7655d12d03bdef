"""Several replicas on one Redis: whom they call, and what Redis has to do for that (docs/replicas.md has the protocol)."""

from origin import JITTER

BEATS = 1  # signs of life of each replica a second


def hasty(replicas):
    """The fleet's interval as a share of the configured one: whoever's jitter is the shortest goes first."""
    return 1 - JITTER + 2 * JITTER / (replicas + 1)


def flights(sources, replicas):
    """Attempts a second, of all replicas together."""
    return sum(1 / source.interval for source in sources) / hasty(replicas)


def commands(sources, replicas):
    """Scripts that Redis runs a second: signs of life; for each attempt the lease, the landing, and all others reading what
    it brought; and the lease once more for each that was due before it landed."""
    late = sum(min(1, source.latency / (2 * JITTER * source.interval)) / source.interval for source in sources)
    attempts = flights(sources, replicas)
    return replicas * BEATS + attempts * (2 + replicas - 1) + late / hasty(replicas) * (replicas - 1)


def messages(sources, replicas):
    """Notices that Redis sends a second: one to each replica for each attempt."""
    return flights(sources, replicas) * replicas
