"""Replicas on one Redis: their calls to providers and the load of Redis (docs/replicas.md describes the protocol)."""

from origin import JITTER

HEARTBEATS = 1  # heartbeats per replica and second


def interval_factor(replicas):
    """Returns the effective interval as a share of the configured one: the replica with the shortest jitter is first."""
    return 1 - JITTER + 2 * JITTER / (replicas + 1)


def flights(sources, replicas):
    """Returns the attempts per second of all replicas together."""
    return sum(1 / source.interval for source in sources) / interval_factor(replicas)


def commands(sources, replicas):
    """Returns the scripts that Redis runs per second: heartbeats; per attempt, one to acquire the lease, one to publish the
    outcome, and one per other replica that reads it; and one more request for the lease by each replica whose attempt was
    due before the outcome was published."""
    late = sum(min(1, source.latency / (2 * JITTER * source.interval)) / source.interval for source in sources)
    attempts = flights(sources, replicas)
    return replicas * HEARTBEATS + attempts * (2 + replicas - 1) + late / interval_factor(replicas) * (replicas - 1)


def messages(sources, replicas):
    """Returns the notifications that Redis sends per second: one per replica and attempt."""
    return flights(sources, replicas) * replicas
