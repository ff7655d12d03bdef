"""CPU time, memory and steal as the kernel reports them, and child processes."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def prepare_driver():
    """Pins the driver and the load to one core and raises the limit of open files for 10,000 connections."""
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stat(pid):
    """Returns the fields of /proc/PID/stat after the name, which may contain spaces."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def process_tree(pid):
    """Returns the ids of a process and all its descendants."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat(entry)[1]), []).append(int(entry))
    found, pending = [], [pid]
    while pending:
        process = pending.pop()
        found.append(process)
        pending += children.get(process, [])
    return found


def cpu_seconds(pids):
    """Returns the user and system time of all these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_bytes(pids):
    """Returns the proportional set size, in which shared pages count once, and the sum of the peak resident sizes."""
    now = peak = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            now += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        with open(f"/proc/{pid}/status") as file:
            peak += sum(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024
    return now, peak


class CoreUsage:
    """Usage of one core since the creation of this object."""

    def __init__(self, core):
        self.core, self.started, self.before = core, time.monotonic(), self._read(core)

    @staticmethod
    def _read(core):
        with open("/proc/stat") as file:
            fields = next(line.split()[1:] for line in file if line.startswith(f"cpu{core} "))
        user, nice, system, _idle, _wait, irq, soft, steal = (int(field) / TICK for field in fields[:8])
        return user + nice + system + irq + soft, steal

    def shares(self):
        """Returns the busy and the stolen share of the time."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        now = self._read(self.core)
        return tuple((after - before) / elapsed for after, before in zip(now, self.before))


class Process:
    """A child process that is pinned to one core and stopped at the end of the `with` block."""

    def __init__(self, command, core=SERVER_CORE, log=None, nice=0, env=None):
        def configure_child():
            os.sched_setaffinity(0, {core})
            os.nice(nice)

        out = open(log, "ab") if log else subprocess.DEVNULL
        self.child = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            preexec_fn=configure_child, start_new_session=True, env={**os.environ, **(env or {})},
        )
        self.command, self.log = command, log

    @property
    def pid(self):
        return self.child.pid

    def pids(self):
        return process_tree(self.child.pid)

    def wait_until_listening(self, port, timeout=20):
        """Waits until the process accepts connections."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return self
            time.sleep(0.02)
        output = open(self.log, errors="replace").read()[-2000:] if self.log else ""
        self.stop()
        raise SystemExit(f"{self.command[0]} does not listen on port {port}\n{output}")

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
