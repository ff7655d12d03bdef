"""Checks and their results, printed as they happen."""

import time


class Report:
    """The results of all checks."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        self._section, self._start = "", time.monotonic()

    def heading(self, text):
        """Starts a section."""
        self._section = text
        self._print(f"\n== {text}")

    def log(self, text):
        """Prints a line."""
        self._print(f"   {text}")

    def check(self, what, passed, found=""):
        """Records one check. `found` is printed beside it."""
        line = f"{what}{f': {found}' if found != '' else ''}"
        if passed:
            self.passed += 1
        else:
            self.failed.append(f"{self._section}: {line}")
        self._print(f"{'ok  ' if passed else 'FAIL'} {line}")
        return passed

    def skip(self, what):
        """Records a check that this machine cannot make, and the reason."""
        self.skipped.append(f"{self._section}: {what}")
        self._print(f"--   skipped: {what}")

    def summarise(self):
        """Prints the totals and returns the exit code."""
        self._print(f"\n{self.passed} checks passed, {len(self.failed)} failed, {len(self.skipped)} skipped")
        for line in self.failed:
            self._print(f"FAIL {line}")
        return 1 if self.failed else 0

    def _print(self, text):
        at = f"{time.monotonic() - self._start:6.1f} s  " if text.strip() and not text.startswith("\n") else ""
        print(f"{at}{text}", flush=True)
