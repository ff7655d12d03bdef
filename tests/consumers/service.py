"""The service with scripted providers: the sources of the default configuration, with values of this run."""

import contextlib
import http.server
import json
import os
import random
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tools import ROOT, free_port, wait

SOURCES = """
[store]
path = ""

[defaults]
interval = "1s"
min_interval = "1s"
max_stale = "1s"

[sources.btc]
url = "{provider}/btc"
extract = '{{usd: (.data.amount | tonumber)}}'

[sources.clima]
url = "{provider}/clima"
extract = '{{temperatura_c: .current.temperature_2m}}'

[sources.usd]
url = "{provider}/usd"
extract = 'map({{(.quote): .rate}}) | add'

[derived.btc_ars]
from = ["btc", "usd"]
extract = '{{ars: (.btc.usd * .usd.ARS)}}'
"""


class Providers:
    """An HTTP server with the answers of the providers. Each run has other values, so that no value can be a constant."""

    def __init__(self):
        self.btc = random.randrange(5_000_000, 9_999_999) / 100
        self.celsius = random.randrange(-100, 400) / 10
        self.ars = random.randrange(1000, 1999) + 0.5
        self.failing = set()
        providers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers a request of the service."""

            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.path.strip("/")
                body = json.dumps(providers._answer(name)).encode()
                self.send_response(503 if name in providers.failing else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def change_btc(self):
        """Changes the value of `btc` and returns it."""
        self.btc = round(self.btc + 1.11, 2)
        return self.btc

    def stop(self):
        """Stops the server."""
        self._server.shutdown()

    def _answer(self, name):
        return {
            "btc": {"data": {"amount": f"{self.btc}", "base": "BTC", "currency": "USD"}},
            "clima": {"current": {"temperature_2m": self.celsius}},
            "usd": [{"base": "USD", "quote": "EUR", "rate": 0.86}, {"base": "USD", "quote": "ARS", "rate": self.ars}],
        }.get(name, {})


class Service:
    """`resumen serve` on a free port."""

    def __init__(self, program, folder, server_keys="", tables="", token=None):
        """Starts it. `server_keys` are lines of `[server]`, `tables` are further tables of the configuration. `token` is for its own requests."""
        self.program = program
        self.providers = Providers()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._config = Path(folder, f"resumen-{self.port}.toml")
        server = f'[server]\nlisten = "{self.address}"\naccess_log = true\nshutdown_grace = "0s"\n{server_keys}\n'
        self._config.write_text(server + SOURCES.format(provider=self.providers.url) + tables)
        self.log = Path(folder, f"resumen-{self.port}.log")
        with self.log.open("w") as log:
            self._process = subprocess.Popen([program, "serve", "--config", self._config], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, cwd=folder,
                                             env={**os.environ, "RESUMEN_LOG_FORMAT": "json"})
        try:
            wait("the service answers", 20, lambda: self.get("/readyz")[0] == 200 and self.get("/resumen")[0] == 200)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{error}\n{self.log.read_text()[-2000:]}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the process and its providers."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        self.providers.stop()

    def get(self, path):
        """The status and the body of a path."""
        return get(self.url + path, self._headers)

    def json(self, path):
        """The body of a 200 as JSON."""
        status, body = self.get(path)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {body[:200]!r}")
        return json.loads(body)

    def requests(self):
        """The lines of the access log, as objects."""
        lines = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if "path" in entry:
                    lines.append(entry)
        return lines


def get(url, headers=None):
    """The status and the body of a URL."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def build():
    """Builds the program and returns its path."""
    done = subprocess.run(["cargo", "build", "--bin", "resumen", "--message-format=json"], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit("cargo build failed")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "resumen":
            program = message["executable"]
    return program
