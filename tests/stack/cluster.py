"""Three replicas behind a load balancer: they call providers like one service, and no request fails while replicas or Valkey
are killed."""

import time

from container import check_confinement, healthy, state
from poller import Poller
from profiles import up_targets
from stack import docker, wait

REPLICAS = 3
# Intervals of config/compose/cluster.toml in seconds, by the path at the simulated providers.
INTERVALS = {"/btc": 2, "/usd": 5, "/clima": 10}
# Maximum ages in seconds: the ttl, the duration of an attempt, and slack for a busy machine.
MAX_AGES = {"btc": 12, "usd": 25, "clima": 45, "btc_ars": 25}


def run(stack, report):
    """Starts the cluster and causes faults while clients poll."""
    stack.up(profiles=["cluster"])
    replicas, [valkey] = healthy(stack, "replica", REPLICAS), healthy(stack, "valkey")
    [balancer] = stack.containers("balancer")
    for container in (*replicas, valkey, balancer):
        check_confinement(report, container)
    stack.up("prometheus")
    targets, _ = wait("Prometheus to find all targets", 90, lambda: len(up_targets(stack)) > REPLICAS and up_targets(stack))
    report.check("Prometheus scrapes every replica and the single service", len(targets) == REPLICAS + 1, targets)
    docker("stop", *stack.containers("resumen"), *stack.containers("prometheus"))
    # From now on only the replicas call the simulated providers, whose log is counted.
    wait("a response through the load balancer", 30, lambda: complete(stack))
    port = stack.ports["CLUSTER_PORT"]
    cached = [Poller("a client that keeps its connection", port), Poller("a client that connects each time", port, keep=False)]
    live = Poller("a client of live requests", port, path="/resumen?fresh=1&timeout=3", interval=1)
    with cached[0], cached[1]:
        check_call_counts(stack, report, 30, "without faults")
        with live:
            cause_faults(stack, report, replicas, valkey)
        check_call_counts(stack, report, 30, "after the faults")
    for poller in (*cached, live):
        check_poller(report, poller)


def check_poller(report, poller):
    """No error, and no value older than its maximum age."""
    report.check(f"{poller.name} had no error", not poller.errors and len(poller.waits) > 50, poller.summary())
    for error in poller.errors[:5]:
        report.log(error)
    aged = {name: age for name, age in poller.oldest.items() if age > MAX_AGES[name]}
    report.check(f"{poller.name} received no old value", not aged, aged or "none")


def complete(stack):
    return stack.json("CLUSTER_PORT", "/resumen")["complete"]


def cause_faults(stack, report, replicas, valkey):
    """Kills, pauses and stops replicas and Valkey in turn."""
    for replica in replicas[:2]:
        report.log("a replica is killed")
        docker("kill", "-s", "KILL", replica)
        time.sleep(4)
        restart(stack, report, "the replica starts again", replica)
    report.log("a replica is paused")
    docker("pause", replicas[2])
    time.sleep(6)
    docker("unpause", replicas[2])
    report.log("a replica is stopped, as in an upgrade")
    docker("stop", "-t", "15", replicas[0])
    report.check("SIGTERM ends it", state(replicas[0])["ExitCode"] == 0, state(replicas[0])["ExitCode"])
    restart(stack, report, "the replica starts again", replicas[0])
    report.log("Valkey is killed")
    docker("kill", "-s", "KILL", valkey)
    time.sleep(10)
    restart(stack, report, "Valkey starts again, empty", valkey)
    report.log("Valkey is paused")
    docker("pause", valkey)
    time.sleep(6)
    docker("unpause", valkey)
    time.sleep(5)


def check_call_counts(stack, report, window, when):
    """Counts the calls of a period: as many as one service makes. A quarter more is allowed for jitter, of which replicas have
    the minimum, and for late replies of Redis on a busy machine."""
    report.log(f"calls are counted for {window} s {when}")
    since = time.time()
    time.sleep(window)
    until = time.time()
    logs = [docker("logs", "--since", str(int(since) - 10), replica, both=True) for replica in stack.containers("replica")]
    report.log(f"replicas were standalone {sum(log.count('shared store disconnected') for log in logs)} times")
    for path, interval in INTERVALS.items():
        calls = stack.calls(path, since, until)
        max_calls = int(1.25 * (until - since) / interval) + 2
        report.check(f"{path} is called like by one service {when}", 1 <= calls <= max_calls, f"{calls} times, at most {max_calls}")


def restart(stack, report, what, container):
    """Starts a container and waits until it is healthy."""
    report.log(what)
    docker("start", container)
    wait(what, 90, lambda: state(container)["Health"]["Status"] == "healthy" and stack.get("CLUSTER_PORT", "/salud/listo"))
