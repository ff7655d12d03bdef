"""A client that asks ten times a second and keeps count of what it did not like."""

import http.client
import json
import threading
import time


class Poller(threading.Thread):
    """Asks one path at a pace until stopped. Errors are whatever a dashboard would notice."""

    def __init__(self, name, port, path="/resumen", pace=0.1, keep=True, timeout=10):
        super().__init__(name=name, daemon=True)
        self._port, self._path, self._pace, self._keep, self._timeout = port, path, pace, keep, timeout
        self._stop_it = threading.Event()
        self.errors, self.waits, self.oldest, self.versions = [], [], {}, set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stop_it.set()
        self.join()

    def run(self):
        connection, due = None, time.monotonic()
        while not self._stop_it.is_set():
            begun = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
                connection.request("GET", self._path)
                answer = connection.getresponse()
                self._judge(answer.status, answer.read())
                closed = answer.will_close
            except (OSError, http.client.HTTPException) as error:
                self._blame(f"{type(error).__name__}: {error}")
                closed = True
            self.waits.append(time.monotonic() - begun)
            if closed or not self._keep:
                connection = connection.close()
            due = max(due + self._pace, time.monotonic() - 1)
            self._stop_it.wait(max(0, due - time.monotonic()))

    def _judge(self, status, body):
        if status != 200:
            return self._blame(f"status {status}: {body[:120]!r}")
        try:
            answer = json.loads(body)
            self.versions.add(answer["version"])
            for name, result in answer["resultados"].items():
                if not result["ok"]:
                    self._blame(f"{name} is missing: {result.get('code')}")
                self.oldest[name] = max(self.oldest.get(name, 0), result.get("age_ms", 0) / 1000)
        except (ValueError, KeyError, TypeError) as error:
            self._blame(f"not an answer ({error}): {body[:120]!r}")

    def _blame(self, what):
        self.errors.append(f"{time.strftime('%H:%M:%S')} {what}")

    def summary(self):
        """What it saw, in a line."""
        waits = sorted(self.waits) or [0]
        at = {p: waits[min(len(waits) - 1, int(len(waits) * p))] * 1000 for p in (0.5, 0.99, 1)}
        return (f"{len(self.waits)} answers, {len(self.errors)} errors; {at[0.5]:.0f} ms median, {at[0.99]:.0f} ms p99, "
                f"{at[1]:.0f} ms at most; {len(self.versions)} versions; oldest "
                + ", ".join(f"{name} {age:.1f} s" for name, age in self.oldest.items()))
