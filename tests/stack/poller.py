"""A client that sends ten requests a second and records errors."""

import http.client
import json
import threading
import time


class Poller(threading.Thread):
    """Requests one path at an interval until stopped. Failed requests and missing values are errors."""

    def __init__(self, name, port, path="/resumen", interval=0.1, keep=True, timeout=10):
        super().__init__(name=name, daemon=True)
        self._port, self._path, self._interval, self._keep, self._timeout = port, path, interval, keep, timeout
        self._stop_event = threading.Event()
        self.errors, self.waits, self.oldest, self.versions = [], [], {}, set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stop_event.set()
        self.join()

    def run(self):
        connection, due = None, time.monotonic()
        while not self._stop_event.is_set():
            start = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
                connection.request("GET", self._path)
                response = connection.getresponse()
                self._check_response(response.status, response.read())
                closed = response.will_close
            except (OSError, http.client.HTTPException) as error:
                self._record_error(f"{type(error).__name__}: {error}")
                closed = True
            self.waits.append(time.monotonic() - start)
            if closed or not self._keep:
                connection = connection.close()
            due = max(due + self._interval, time.monotonic() - 1)
            self._stop_event.wait(max(0, due - time.monotonic()))

    def _check_response(self, status, body):
        if status != 200:
            return self._record_error(f"status {status}: {body[:120]!r}")
        try:
            response = json.loads(body)
            self.versions.add(response["version"])
            for name, result in response["resultados"].items():
                if not result["ok"]:
                    self._record_error(f"{name} is missing: {result.get('code')}")
                self.oldest[name] = max(self.oldest.get(name, 0), result.get("age_ms", 0) / 1000)
        except (ValueError, KeyError, TypeError) as error:
            self._record_error(f"not a response ({error}): {body[:120]!r}")

    def _record_error(self, error):
        self.errors.append(f"{time.strftime('%H:%M:%S')} {error}")

    def summary(self):
        """One line with counts, times and ages."""
        waits = sorted(self.waits) or [0]
        at = {p: waits[min(len(waits) - 1, int(len(waits) * p))] * 1000 for p in (0.5, 0.99, 1)}
        return (f"{len(self.waits)} responses, {len(self.errors)} errors; {at[0.5]:.0f} ms median, {at[0.99]:.0f} ms p99, "
                f"{at[1]:.0f} ms at most; {len(self.versions)} versions; oldest "
                + ", ".join(f"{name} {age:.1f} s" for name, age in self.oldest.items()))
