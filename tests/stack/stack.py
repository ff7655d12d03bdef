"""Compose and Docker. All containers belong to one project, which is removed at the end."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ["live", "observability", "cluster"]
PORTS = ["RESUMEN_PORT", "LIVE_PORT", "CLUSTER_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"]
IMAGE = "resumen-stack-test"


class Stack:
    """The project: its image, its containers, its ports."""

    def __init__(self, arguments, report):
        self.report = report
        self.project = f"resumen-test-{os.getpid()}"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._compose = [*(arguments.compose or find_compose()), "-p", self.project, "-f", str(ROOT / "docker-compose.yml")]
        self._environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "RESUMEN_BIND": "127.0.0.1",
            "RESUMEN_IMAGE": arguments.image or IMAGE,
            "RESUMEN_REVISION": revision(),
            "RESUMEN_PROFILE": "release" if arguments.quick else "dist",
            "SIMULATE_LOG": "resumen::simulator=debug,info",
            "RESUMEN_LOG_FORMAT": "json",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def build(self):
        """Builds the image twice; the second build uses the cache."""
        self.report.heading("image")
        took = self._timed("build", "resumen")
        again = self._timed("build", "resumen")
        self.report.check("the second build uses the cache", again < 30, f"{took:.0f} s, then {again:.1f} s")
        size = int(docker("image", "inspect", "-f", "{{.Size}}", IMAGE))
        label = docker("image", "inspect", "-f", '{{index .Config.Labels "org.opencontainers.image.revision"}}', IMAGE)
        self.report.check("the image has the label of its revision", label == revision(), label)
        self.report.log(f"size {size / 1e6:.0f} MB with its base")
        program = copy_from_image("/usr/local/bin/resumen")
        self.report.check("the program lists its crates", b".dep-v0" in program, f"{len(program) / 1e6:.1f} MB")
        notices = copy_from_image("/usr/local/share/doc/resumen/third-party-notices.txt")
        self.report.check("the image has the notices of its crates", b"\nring v" in notices, f"{len(notices) / 1e3:.0f} kB")

    def up(self, *services, profiles=()):
        """Starts services, by default all of the profiles, and waits for their health checks."""
        self.compose(*[f"--profile={name}" for name in profiles], "up", "-d", *services)

    @contextlib.contextmanager
    def up_and_down(self):
        """Removes the project at the end. After an error, prints the last log lines of each container."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 # the next profile runs in any case
            self.report.check("no error", False, f"{type(error).__name__}: {error}")
            for container in docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split():
                print(docker("inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.ExitCode}}", container), file=sys.stderr)
                print(docker("logs", "--tail=8", container, both=True), file=sys.stderr)
        finally:
            self.down()

    def down(self):
        """Removes the project with its volumes and networks."""
        self.compose(*[f"--profile={name}" for name in PROFILES], "down", "-v", "--remove-orphans", "-t", "15", check=False)

    def containers(self, service):
        """The ids of the containers of a service, running or not."""
        label = f"label=com.docker.compose.project={self.project}"
        return docker("ps", "-aq", "--no-trunc", "--filter", label, "--filter", f"label=com.docker.compose.service={service}").split()

    def get(self, port, path, timeout=5):
        """The status and the body of a URL on one of the published ports."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, port, path):
        """The body of a 200 as JSON."""
        status, body = self.get(port, path)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {body[:200]!r}")
        return json.loads(body)

    def calls(self, path, since, until):
        """The number of requests for `path` in the log of the simulated providers between two times."""
        count = 0
        for line in docker("logs", self.containers("simulate")[0], both=True).splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["message"] == "request received" and entry["uri"].split("?")[0] == path:
                    count += since <= seconds(entry["timestamp"]) < until
        return count

    def compose(self, *arguments, check=True):
        """Runs Compose in this project."""
        return run([*self._compose, *arguments], env=self._environment, check=check)

    def _timed(self, *arguments):
        start = time.monotonic()
        self.compose(*arguments)
        return time.monotonic() - start


def copy_from_image(path):
    """The content of a file of the image."""
    container = docker("create", IMAGE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            docker("cp", f"{container}:{path}", f"{folder}/file")
            return Path(folder, "file").read_bytes()
    finally:
        docker("rm", container)


def docker(*arguments, both=False):
    """Runs Docker and returns its output."""
    return run(["docker", *arguments], both=both)


def run(command, env=None, check=True, both=False):
    """Runs a command and returns its standard output, with `both` also its standard error."""
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          stderr=subprocess.STDOUT if both else subprocess.PIPE, cwd=ROOT)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout.strip()


def wait(what, limit, poll):
    """Calls `poll` until its result is true, at most `limit` seconds; returns the result and the duration."""
    start, reason = time.monotonic(), ""
    while time.monotonic() - start < limit:
        try:
            if result := poll():
                return result, time.monotonic() - start
        except (OSError, RuntimeError, ValueError) as error:
            reason = f" ({error})"
        time.sleep(0.2)
    raise RuntimeError(f"not within {limit} s: {what}{reason}")


def seconds(timestamp):
    """A time of the logs as seconds since 1970."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def find_compose():
    """The command of Compose: v2 if installed, else v1."""
    if not shutil.which("docker"):
        sys.exit("docker is missing: see https://docs.docker.com/engine/install, or `apt-get install docker.io docker-compose`")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    sys.exit("`docker compose` and `docker-compose` are missing: install the Compose plugin")


def revision():
    """The current commit; empty outside of a clone."""
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def free_ports(count):
    """Unused ports."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
