"""What the tables take for granted: measured figures with their origin, and prices, which are yours to replace."""

import dataclasses


def of(value, meaning):
    return dataclasses.field(default=value, metadata={"meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """All of them, each an option of the command line."""

    cpu: float = of(7.35, "microseconds of CPU per request (docs/performance.md, identity, 64 connections)")
    rendering: float = of(80, "microseconds of CPU per rendering (cargo bench --bench publish, 300 sources)")
    answer: int = of(1473, "bytes of an answer of three sources, head included (curl -i)")
    idle: float = of(3.3, "KiB of memory per connection (docs/performance.md)")
    busy: float = of(0.6, "share of a processor to be used, so that a burst finds room")
    period: float = of(5, "seconds between two polls of one client, which keeps its connection")
    connections: int = of(10_000, "server.max_connections of a replica")
    cores: int = of(2, "processors of a replica")
    network: float = of(5, "Gbit/s of a replica's network")
    pops: int = of(100, "caches of the CDN that ask by themselves")
    rtt: float = of(0.05, "seconds from a cache to the service and back")
    hour: float = of(0.04, "price of a processor for an hour, in dollars; an assumption")
    gigabyte: float = of(0.05, "price of a gigabyte sent to the internet, in dollars; an assumption")

    @classmethod
    def names(cls):
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def offer(cls, parser):
        """Adds each as an option."""
        for field in dataclasses.fields(cls):
            meaning = f"{field.metadata['meaning']} [{field.default}]"
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default, help=meaning)
