"""Programs: where they are, how they are installed, run and waited for."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / "target" / "consumers"


class Missing(Exception):
    """A program that this machine does not have."""


def need(name, hint=None):
    """The path of a program on the PATH."""
    if path := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return path
    raise Missing(f"{name} is missing: {hint or f'apt-get install {name}'}")


def need_venv(name, *packages, python=None):
    """The `bin` folder of a virtual environment with these packages, which is made at the first use."""
    folder = INSTALLED / name
    marker = folder / "installed.txt"
    wanted = "\n".join(packages)
    if not marker.exists() or marker.read_text() != wanted:
        try:
            run([python or sys.executable, "-m", "venv", folder], limit=120)
            run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], limit=1200)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            raise Missing(f"pip install {wanted} failed: {str(error)[-300:]}") from error
        marker.write_text(wanted)
    return folder / "bin"


def need_npm(name, *packages):
    """A folder with `node_modules` that has these packages, which is made at the first use."""
    folder = INSTALLED / f"npm-{name}"
    marker = folder / "installed.txt"
    wanted = "\n".join(packages)
    if not marker.exists() or marker.read_text() != wanted:
        need("npm")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        try:
            run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages], cwd=folder, limit=1200)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            raise Missing(f"npm install {wanted} failed: {str(error)[-300:]}") from error
        marker.write_text(wanted)
    return folder


def run(command, limit=60, check=True, **options):
    """Runs a command and returns its standard output without surrounding white space."""
    done = subprocess.run([str(word) for word in command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=limit, **options)
    if check and done.returncode:
        words = " ".join(str(word) for word in command)
        raise RuntimeError(f"{words} exited with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout.strip()


@contextlib.contextmanager
def running(command, log, **options):
    """Runs a program, with its output in the file `log`, until the end of the block; then ends its process group."""
    with Path(log).open("w") as output:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait(what, limit, poll):
    """Calls `poll` until its result is true, at most `limit` seconds, and returns the result."""
    start, reason = time.monotonic(), ""
    while time.monotonic() - start < limit:
        try:
            if result := poll():
                return result
        except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
            reason = f" ({error})"
        time.sleep(0.1)
    raise RuntimeError(f"not within {limit} s: {what}{reason}")


def free_port():
    """An unused port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
