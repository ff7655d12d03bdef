"""CPU time of a scrape of /metrics with own metrics: `python3 benches/scrape.py BINARY`.

Starts a provider and the service on loopback, scrapes it as often as a page is made anew (a large page is served again for
250 ms), and divides the CPU time of the service's process by the scrapes. The CPU time of the same period without scrapes is
subtracted. Takes a minute and a half, and stops what it started.
"""

import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SCRAPES = 30
INTERVAL = 0.3
SERIES = 1000


class Provider(http.server.BaseHTTPRequestHandler):
    body = json.dumps([{"id": f"item-{n}", "value": n + 0.25} for n in range(SERIES)]).encode()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def metric(name, filters):
    return f'[[sources.a.metrics]]\nname = "{name}"\nhelp = "A value of the benchmark"\n{filters}\n'


SHAPES = {
    "no own metrics, 1,000 numbers": "",
    "1 metric of 1,000 series": metric("item", 'each = ".[]"\nvalue = ".value"\nlabels = { id = ".id" }'),
    "1,000 metrics of 1 series": "".join(metric(f"item_{n}", f'value = ".[{n}].value"') for n in range(SERIES)),
}


def cpu_seconds(pid):
    """Of all threads, in nanosecond steps; the times in `stat` have steps of 10 ms."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def scrape(url, accept):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request) as response:
        return response.read().decode()


def measure_period(pid, url, accept):
    """The CPU time of a period of scrapes, or without any."""
    start = cpu_seconds(pid)
    for _ in range(SCRAPES):
        if accept:
            scrape(url, accept)
        time.sleep(INTERVAL)
    return cpu_seconds(pid) - start


def measure(binary, port, metrics):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "resumen.toml")
        with open(path, "w") as file:
            # One reading: no flight runs while the CPU time is measured.
            file.write(f'[store]\npath = ""\n[sources.a]\nurl = "http://127.0.0.1:{port}"\ninterval = "1h"\n{metrics}')
        service = subprocess.Popen(
            [binary, "serve", "--config", path, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
        )
        try:
            address = next(line.split("address=")[1].split()[0] for line in service.stderr if "listening" in line)
            url = f"http://{address}/metrics"
            deadline = time.monotonic() + 30
            while sum(line.startswith(("item", "resumen_value{")) for line in scrape(url, "*/*").splitlines()) < SERIES:
                assert time.monotonic() < deadline, scrape(url, "*/*")
                time.sleep(0.2)
            idle, text, open_metrics = (
                measure_period(service.pid, url, accept)
                for accept in (None, "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0")
            )
            size = len(scrape(url, "*/*"))
            return size, [(used - idle) / SCRAPES * 1e3 for used in (text, open_metrics)]
        finally:
            service.terminate()
            service.wait()


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("| series | page | text | OpenMetrics |\n|---|--:|--:|--:|")
    for shape, metrics in SHAPES.items():
        size, (text, open_metrics) = measure(sys.argv[1], server.server_port, metrics)
        print(f"| {shape} | {size / 1024:.0f} KiB | {text:.2f} ms | {open_metrics:.2f} ms |")


if __name__ == "__main__":
    main()
