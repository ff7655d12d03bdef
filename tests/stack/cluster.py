"""Three replicas behind a load balancer: they call providers like one, and no client sees one of them, or Valkey, die."""

import time

from container import guarded, healthy, state
from poller import Poller
from profiles import up_targets
from stack import docker, wait

REPLICAS = 3
# What config/compose/cluster.toml says: the path at the simulated providers, and the seconds between two calls.
PACES = {"/btc": 2, "/usd": 5, "/clima": 10}
# An attempt, its ttl and some for a busy machine: an older value was not refreshed while something was down.
OLDEST = {"btc": 12, "usd": 25, "clima": 45, "btc_ars": 25}


def run(stack, report):
    """Brings the cluster up, and hurts it while clients poll."""
    stack.up(profiles=["cluster"])
    replicas, [valkey] = healthy(stack, "replica", REPLICAS), healthy(stack, "valkey")
    [balancer] = stack.containers("balancer")
    for container in (*replicas, valkey, balancer):
        guarded(report, container)
    stack.up("prometheus")
    targets, _ = wait("Prometheus to find all of them", 90, lambda: len(up_targets(stack)) > REPLICAS and up_targets(stack))
    report.check("Prometheus scrapes every replica, and the service beside them", len(targets) == REPLICAS + 1, targets)
    docker("stop", *stack.containers("resumen"), *stack.containers("prometheus"))
    # Only the replicas ask the simulated providers now: their log is going to be counted.
    wait("an answer through the load balancer", 30, lambda: complete(stack))
    port = stack.ports["CLUSTER_PORT"]
    cached = [Poller("a client that keeps its connection", port), Poller("a client that connects each time", port, keep=False)]
    live = Poller("a client that asks live", port, path="/resumen?fresh=1&timeout=3", pace=1)
    with cached[0], cached[1]:
        alike(stack, report, 30, "in quiet times")
        with live:
            hurt(stack, report, replicas, valkey)
        alike(stack, report, 30, "after all that")
    for poller in (*cached, live):
        judged(report, poller)


def judged(report, poller):
    """No error, and no value older than its source's refreshing allows."""
    report.check(f"{poller.name} noticed nothing", not poller.errors and len(poller.waits) > 50, poller.summary())
    for error in poller.errors[:5]:
        report.say(error)
    aged = {name: age for name, age in poller.oldest.items() if age > OLDEST[name]}
    report.check(f"{poller.name} saw no old value", not aged, aged or "none")


def complete(stack):
    return stack.json("CLUSTER_PORT", "/resumen")["complete"]


def hurt(stack, report, replicas, valkey):
    """One thing after the other."""
    for replica in replicas[:2]:
        report.say("a replica is killed")
        docker("kill", "-s", "KILL", replica)
        time.sleep(4)
        back(stack, report, "the replica starts again", replica)
    report.say("a replica hangs")
    docker("pause", replicas[2])
    time.sleep(6)
    docker("unpause", replicas[2])
    report.say("a replica is stopped as an upgrade does")
    docker("stop", "-t", "15", replicas[0])
    report.check("it ends by itself", state(replicas[0])["ExitCode"] == 0, state(replicas[0])["ExitCode"])
    back(stack, report, "the replica starts again", replicas[0])
    report.say("Valkey is killed")
    docker("kill", "-s", "KILL", valkey)
    time.sleep(10)
    back(stack, report, "Valkey starts again, empty", valkey)
    report.say("Valkey hangs")
    docker("pause", valkey)
    time.sleep(6)
    docker("unpause", valkey)
    time.sleep(5)


def alike(stack, report, window, when):
    """Counts the calls of a while at the providers: as many as one service makes, whatever the number of replicas. A quarter
    more is allowed for: jitter, of which a fleet has the shortest, and a machine so busy that Redis is not heard in time."""
    report.say(f"calls are counted for {window} s {when}")
    since = time.time()
    time.sleep(window)
    until = time.time()
    logs = [docker("logs", "--since", str(int(since) - 10), replica, both=True) for replica in stack.containers("replica")]
    report.say(f"meanwhile, replicas went on alone {sum(log.count('not shared for now') for log in logs)} times")
    for path, interval in PACES.items():
        calls = stack.calls(path, since, until)
        most = int(1.25 * (until - since) / interval) + 2
        report.check(f"{path} is called as by one service {when}", 1 <= calls <= most, f"{calls} times, at most {most}")


def back(stack, report, what, container):
    """Starts a container again and waits until it is healthy."""
    report.say(what)
    docker("start", container)
    wait(what, 90, lambda: state(container)["Health"]["Status"] == "healthy" and stack.get("CLUSTER_PORT", "/salud/listo"))
