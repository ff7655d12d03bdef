"""What a container may do, by Docker's word and, where this machine runs it, by the kernel's."""

import json
from pathlib import Path

from stack import docker, wait

USER = "65532"


def healthy(stack, service, count=1):
    """Waits until all of a service's containers are healthy; gives their ids."""
    def all_of_them():
        ids = stack.containers(service)
        states = [state(one) for one in ids]
        return len(ids) == count and all(s["Running"] and s["Health"]["Status"] == "healthy" for s in states) and ids
    ids, took = wait(f"{service} to be healthy", 120, all_of_them)
    stack.report.check(f"{service} is healthy", True, f"{count} after {took:.1f} s")
    return ids


def state(container):
    """Docker's view of a container."""
    return json.loads(docker("inspect", "-f", "{{json .State}}", container))


def guarded(report, container, user=USER):
    """Checks that a container is shut in as it should be. `user` is None where that is the image's own affair."""
    about = json.loads(docker("inspect", container))[0]
    name, host = about["Name"].lstrip("/").split("_test-")[-1], about["HostConfig"]
    promised = {
        "root is read-only": host["ReadonlyRootfs"],
        "no capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"],
        "no new privileges": any(option.startswith("no-new-privileges") for option in host["SecurityOpt"] or []),
        "memory, processors and processes are limited": all((host["Memory"], host["NanoCpus"], host["PidsLimit"])),
        "the log is limited": host["LogConfig"]["Config"].get("max-size"),
    }
    broken = [what for what, held in promised.items() if not held]
    report.check(f"{name} is shut in", not broken, "; ".join(broken) or "as promised")
    if user:
        report.check(f"{name} runs as a number, not as root", about["Config"]["User"].split(":")[0] == user,
                     about["Config"]["User"])
    by_the_kernel(report, name, about["State"]["Pid"], user)


def by_the_kernel(report, name, pid, user):
    """The same, as /proc tells it."""
    process = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        report.unable(f"{name} in /proc: Docker runs elsewhere, or not all processes may be seen")
        return
    root = next(line.split() for line in mounts if line.split()[4] == "/")
    seen = {"uid": status["Uid"].split()[0], "capabilities": status["CapEff"].strip("0") or "none",
            "no new privileges": status["NoNewPrivs"], "root": root[5].split(",")[0]}
    held = seen == {"uid": user or seen["uid"], "capabilities": "none", "no new privileges": "1", "root": "ro"}
    report.check(f"{name} is shut in by the kernel", held, seen)
