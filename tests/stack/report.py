"""What was checked, told as it happens."""

import time


class Report:
    """Checks and their outcomes."""

    def __init__(self):
        self.passed, self.failed, self.unseen = 0, [], []
        self._part, self._start = "", time.monotonic()

    def heading(self, text):
        """Begins a part."""
        self._part = text
        self._say(f"\n== {text}")

    def say(self, text):
        """Tells what happens."""
        self._say(f"   {text}")

    def check(self, what, held, seen=""):
        """Counts one check; `seen` is what was there, and stands beside what failed."""
        told = f"{what}{f': {seen}' if seen != '' else ''}"
        if held:
            self.passed += 1
        else:
            self.failed.append(f"{self._part}: {told}")
        self._say(f"{'ok  ' if held else 'FAIL'} {told}")
        return held

    def unable(self, what):
        """What cannot be shown on this machine, and why."""
        self.unseen.append(f"{self._part}: {what}")
        self._say(f"--   not shown here: {what}")

    def verdict(self):
        """Prints the sum and gives the exit code."""
        self._say(f"\n{self.passed} checks held, {len(self.failed)} failed, {len(self.unseen)} could not be made")
        for line in self.failed:
            self._say(f"FAIL {line}")
        return 1 if self.failed else 0

    def _say(self, text):
        at = f"{time.monotonic() - self._start:6.1f} s  " if text.strip() and not text.startswith("\n") else ""
        print(f"{at}{text}", flush=True)
