"""Inputs of the tables: measured figures with their origin, and prices."""

import dataclasses


def assumption(value, meaning):
    return dataclasses.field(default=value, metadata={"meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """Every assumption; each is an option of the command line."""

    cpu: float = assumption(7.35, "microseconds of CPU per request (docs/performance.md, identity, 64 connections)")
    rendering: float = assumption(80, "microseconds of CPU per rendering (cargo bench --bench publish, 300 sources)")
    answer: int = assumption(1473, "bytes of a response of three sources with its head (curl -i)")
    idle: float = assumption(3.3, "KiB of memory per connection (docs/performance.md)")
    busy: float = assumption(0.6, "share of a processor that is used; the rest is for bursts")
    period: float = assumption(5, "seconds between two polls of a client on its keep-alive connection")
    connections: int = assumption(10_000, "server.max_connections of a replica")
    cores: int = assumption(2, "processors of a replica")
    network: float = assumption(5, "Gbit/s of a replica's network")
    pops: int = assumption(100, "independent caches of the CDN")
    rtt: float = assumption(0.05, "seconds from a cache to the service and back")
    hour: float = assumption(0.04, "price of a processor for an hour, in dollars; an assumption")
    gigabyte: float = assumption(0.05, "price of a gigabyte sent to the internet, in dollars; an assumption")

    @classmethod
    def names(cls):
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def add_options(cls, parser):
        """Adds one option per assumption."""
        for field in dataclasses.fields(cls):
            meaning = f"{field.metadata['meaning']} [{field.default}]"
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default, help=meaning)
