"""What the kernel tells: processor time, memory, steal; and processes that are ours to stop."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def prepare():
    """The driver and all load on one core, and room for 10,000 connections."""
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold spaces."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def family(pid):
    """A process and all its descendants."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents.setdefault(int(_stat(entry)[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += parents.get(one, [])
    return found


def cpu_seconds(pids):
    """User and system time of all of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_bytes(pids):
    """Proportional share of resident memory, so that shared pages count once; the high mark of each as well."""
    now = peak = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            now += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        with open(f"/proc/{pid}/status") as file:
            peak += sum(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024
    return now, peak


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


class Core:
    """What one core did since this was made."""

    def __init__(self, core):
        self.core, self.begun, self.before = core, time.monotonic(), self._read(core)

    @staticmethod
    def _read(core):
        with open("/proc/stat") as file:
            fields = next(line.split()[1:] for line in file if line.startswith(f"cpu{core} "))
        user, nice, system, _idle, _wait, irq, soft, steal = (int(field) / TICK for field in fields[:8])
        return user + nice + system + irq + soft, steal

    def shares(self):
        """Busy and stolen shares of the time since then."""
        passed = max(time.monotonic() - self.begun, 1e-9)
        now = self._read(self.core)
        return tuple((n - b) / passed for n, b in zip(now, self.before))


class Process:
    """A child on a core of its own choosing, stopped by its id when the block ends."""

    def __init__(self, command, core=SERVER_CORE, log=None, nice=0, env=None):
        def settle():
            os.sched_setaffinity(0, {core})
            os.nice(nice)

        out = open(log, "ab") if log else subprocess.DEVNULL
        self.child = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            preexec_fn=settle, start_new_session=True, env={**os.environ, **(env or {})},
        )
        self.command, self.log = command, log

    @property
    def pid(self):
        return self.child.pid

    def pids(self):
        return family(self.child.pid)

    def listens(self, port, within=20):
        """Waits until it accepts connections."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return self
            time.sleep(0.02)
        said = open(self.log, errors="replace").read()[-2000:] if self.log else ""
        self.stop()
        raise SystemExit(f"{self.command[0]} did not come up on port {port}\n{said}")

    def stop(self):
        for pid in reversed(self.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            self.child.wait(12)
        except subprocess.TimeoutExpired:
            for pid in reversed(self.pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
