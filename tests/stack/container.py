"""The confinement of a container, from `docker inspect` and from /proc of this machine."""

import json
from pathlib import Path

from stack import docker, wait

USER = "65532"


def healthy(stack, service, count=1):
    """Waits until all containers of a service are healthy; returns their ids."""
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


def check_confinement(report, container, user=USER):
    """Checks the limits of a container. `user` is None if the image sets the user."""
    about = json.loads(docker("inspect", container))[0]
    name, host = about["Name"].lstrip("/").split("_test-")[-1], about["HostConfig"]
    required = {
        "root is read-only": host["ReadonlyRootfs"],
        "no capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"],
        "no new privileges": any(option.startswith("no-new-privileges") for option in host["SecurityOpt"] or []),
        "memory, processors and processes are limited": all((host["Memory"], host["NanoCpus"], host["PidsLimit"])),
        "the log is limited": host["LogConfig"]["Config"].get("max-size"),
    }
    missing = [what for what, is_set in required.items() if not is_set]
    report.check(f"{name} is confined", not missing, "; ".join(missing) or "all limits")
    if user:
        report.check(f"{name} runs as a numeric user, not as root", about["Config"]["User"].split(":")[0] == user,
                     about["Config"]["User"])
    check_confinement_in_proc(report, name, about["State"]["Pid"], user)


def check_confinement_in_proc(report, name, pid, user):
    """The same from /proc."""
    process = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        report.skip(f"{name} in /proc: Docker runs on another machine, or its processes are hidden")
        return
    root = next(line.split() for line in mounts if line.split()[4] == "/")
    found = {"uid": status["Uid"].split()[0], "capabilities": status["CapEff"].strip("0") or "none",
            "no new privileges": status["NoNewPrivs"], "root": root[5].split(",")[0]}
    is_confined = found == {"uid": user or found["uid"], "capabilities": "none", "no new privileges": "1", "root": "ro"}
    report.check(f"{name} is confined by the kernel", is_confined, found)
