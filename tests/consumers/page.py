"""The snippets of a document, with the address of the running service in place of the document's."""

from tools import ROOT

# The address that stands for that of the service in the documents.
DOCUMENTED_ADDRESS = "resumen.lan:8080"


class Page:
    """A document as its sections."""

    def __init__(self, name):
        self.name = name
        self._sections = {}
        lines, heading, language = (ROOT / "docs" / name).read_text().splitlines(), "", None
        for line in lines:
            if line.startswith("```"):
                if language is None:
                    language = line[3:]
                    self._sections[heading].append((language, []))
                else:
                    language = None
            elif language is not None:
                self._sections[heading][-1][1].append(line)
            elif line.startswith("#"):
                heading = line.lstrip("#").strip()
                self._sections[heading] = []

    def block(self, heading, language, address=None, index=0):
        """The text of a code block of a section; with `address`, for a service at this address."""
        blocks = [lines for name, lines in self._sections[heading] if name == language]
        if index >= len(blocks):
            raise RuntimeError(f"{self.name}, {heading}: no block {index} of {language}")
        text = "\n".join(blocks[index]) + "\n"
        return text.replace(DOCUMENTED_ADDRESS, address) if address else text
