"""The text of one stream, put together late: a message costs what it brings, however much is there already."""

from __future__ import annotations

_SLACK = 4096
"""Characters of a line that may be written over before that is carried out."""


class StreamText:
    """Text after text, where a carriage return goes back to the start of its line: a progress bar is one line."""

    def __init__(self, text: str = "") -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._raw = self._carried_out = 0
        self.size = 0
        """Characters, at most: what is written over counts until that is carried out."""
        self.work = 0
        """Characters that were ever gone through."""
        self.add(text)

    def add(self, more: str) -> None:
        """What comes next."""
        self.work += len(more)
        whole, newline, rest = more.rpartition("\n")
        if newline:
            self._line.append(whole)
            done = self._joined().replace("\r\n", "\n").split("\n")
            text = "\n".join(_shown(line.rstrip("\r"))[0] for line in done) + "\n"
            self._lines.append(text)
            self.size += len(text) - self._raw
            self._line, self._raw, self._carried_out = [], 0, 0
        if rest:
            self._line.append(rest)
            self._raw += len(rest)
            self.size += len(rest)
            if self._raw > 2 * self._carried_out + _SLACK:
                self.carry_out()

    def carry_out(self) -> None:
        """Have what is written over take no room."""
        line, place = _shown(self._joined())
        kept = line if place == len(line) else f"{line}\r{line[:place]}"
        self.size += len(kept) - self._raw
        self._line, self._raw, self._carried_out = [kept], len(kept), len(kept)

    def text(self, goes_on: bool) -> str:
        """All of it. `goes_on`: for who will add to it, with the place in the last line where that is written."""
        line, place = _shown(self._joined())
        rest = "" if place == len(line) or (place and not goes_on) else f"\r{line[:place]}"
        return "".join([*self._lines, line, rest])

    def _joined(self) -> str:
        line = "".join(self._line)
        self.work += len(line)
        return line


def _shown(line: str) -> tuple[str, int]:
    """A line as it looks after what was written over, and the place in it where the next would be written."""
    *before, last = line.split("\r")
    pieces, length = [last], len(last)
    for part in reversed(before):
        if len(part) > length:
            pieces.append(part[length:])
            length = len(part)
    return "".join(pieces), len(last)
