"""What the test of one program uses: the snippets, the service, a folder, and the results."""

import contextlib
import shutil
import sys
from pathlib import Path

from tools import ROOT, wait


class Trial:
    """The test of one program."""

    def __init__(self, page, service, report, folder):
        self.service, self.providers = service, service.providers
        self._page, self._report, self._folder = page, report, Path(folder)

    @property
    def btc(self):
        """The value of the source `btc`."""
        return self.providers.btc

    def block(self, heading, language, index=0):
        """A code block of the page, with the address of the running service."""
        return self._page.block(heading, language, self.service.address, index)

    def check(self, what, found, wanted):
        """Records whether a program shows what it should."""
        text = f"{found!r}" if found == wanted else f"{found!r} instead of {wanted!r}"
        self._report.check(what, found == wanted, text)

    def path(self, name):
        """A path in the folder of this run."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def file(self, name, text):
        """A new file in the folder of this run."""
        path = self.path(name)
        path.write_text(text)
        return path

    def folder(self, name):
        """A new folder in the folder of this run."""
        path = self.path(name)
        path.mkdir()
        return path

    @contextlib.contextmanager
    def missing_btc(self):
        """While the block runs, the provider of `btc` fails and the source has no value."""
        self.providers.failing.add("btc")
        try:
            wait("btc is missing", 15, lambda: self.service.get("/valor/btc/usd")[0] == 503)
            yield
        finally:
            self.providers.failing.clear()
            # After failures the next attempt waits for its backoff; a live request does not.
            wait("btc is back", 30, lambda: self.service.get("/valor/btc/usd?fresh=1")[0] == 200)

    def newest_python(self):
        """The newest Python on the PATH: recent releases of Home Assistant and ESPHome need one."""
        for minor in range(14, 10, -1):
            for candidate in (shutil.which(f"python3.{minor}"), *sorted(ROOT.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))):
                if candidate:
                    return candidate
        return sys.executable
