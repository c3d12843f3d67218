"""What one execution has put out, in the form of a notebook file, made from the messages of its kernel.

Pure: values in, values out. The same rules as a page's: streams are joined, a carriage return writes over its
line, a display that is updated changes where it stands, a clearing that waits happens with the next output.

Every message passes here, also while a page watches, so none costs more than it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dure_lab.stream_text import StreamText

LARGEST = 2_000_000
"""Characters that are kept of one execution, about; a page that is open has no such bound."""
EACH = 100
"""Characters that an output counts for besides what it shows."""
_OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error"})
CUT = {
    "en": "\n[No page was open, so only the first 2 MB of this output were kept.]\n",
    "ko": "\n[열린 페이지가 없어 이 출력의 처음 2 MB만 보관했습니다.]\n",
}

Unpack = Callable[[], Mapping[str, Any]]
"""Gives the content of a message; called only where it is looked at."""


@dataclass
class _Kept:
    """One output. Its text, where it is a stream's, is apart."""

    output: dict[str, Any]
    size: int
    """Characters; of a stream, without its text."""
    display: str | None = None
    text: StreamText | None = None

    def as_dict(self, goes_on: bool) -> dict[str, Any]:
        return dict(self.output) if self.text is None else {**self.output, "text": self.text.text(goes_on)}


@dataclass
class Outputs:
    """Takes an execution's messages in order. `language` is that of the sentence where something was left out."""

    language: str = "en"
    largest: int = LARGEST
    count: int | None = None
    """The number in the cell's prompt; null until the kernel has begun on it."""
    begun: bool = False
    ended: bool = False
    cut: bool = False
    size: int = 0
    """Characters that are kept, about."""
    _kept: list[_Kept] = field(default_factory=list)
    _displays: dict[str, list[_Kept]] = field(default_factory=dict)
    _clear_next: bool = False

    def take(self, kind: str, unpack: Unpack, size: int) -> None:
        """One message of the kernel's whose parent is this execution. Kinds that show nothing are passed over.

        `size`: characters of its content as it was sent. What is too large is left out without being unpacked.
        """
        if kind == "status":
            self.begun = True
            self.ended = self.ended or unpack().get("execution_state") == "idle"
        elif kind == "execute_input":
            self.count = unpack().get("execution_count")
        elif kind == "clear_output":
            self._clear_next = True
            if not unpack().get("wait"):
                self._clear()
        elif kind == "update_display_data":
            if size > self.largest and self._displays:
                self._leave_out()
            self.update(unpack, size)
        elif kind in _OUTPUTS:
            self._clear()
            if self.cut or size > self.largest:
                self._leave_out()
            else:
                self._add(kind, unpack(), size)

    def update(self, unpack: Unpack, size: int) -> None:
        """A display that was shown before looks otherwise now; it may be another execution's."""
        if not self._displays or size > self.largest:
            return
        content = unpack()
        for one in self._displays.get(_name(content) or "", ()):
            if self.size - one.size + size + EACH > self.largest:
                self._leave_out()
                continue
            self.size += size + EACH - one.size
            one.output, one.size = {**one.output, **_displayed(content)}, size + EACH

    def in_file(self) -> list[dict[str, Any]]:
        """The outputs as a notebook file has them."""
        return [one.as_dict(goes_on=False) for one in self._kept]

    def on_wire(self) -> list[dict[str, Any]]:
        """The same for a page that goes on from here: with the names of displays that may still be updated."""
        return [
            one.as_dict(goes_on=True)
            if one.display is None
            else {**one.as_dict(goes_on=True), "transient": {"display_id": one.display}}
            for one in self._kept
        ]

    def _clear(self) -> None:
        if self._clear_next:
            self._clear_next = self.cut = False
            self._kept, self._displays, self.size = [], {}, 0

    def _add(self, kind: str, content: Mapping[str, Any], size: int) -> None:
        if kind == "stream":
            self._write(content["name"], content["text"])
            return
        if kind == "execute_result":
            self.count = content.get("execution_count", self.count)
        one = _Kept(_output(kind, content), size + EACH, _name(content))
        if self.size + one.size > self.largest:
            self._leave_out()
            return
        self._kept.append(one)
        self.size += one.size
        if one.display is not None:
            self._displays.setdefault(one.display, []).append(one)

    def _write(self, name: str, text: str) -> None:
        """Into the stream that is last, or into a new one."""
        last = self._kept[-1] if self._kept else None
        written = last.text if last is not None and last.output.get("name") == name else None
        if written is None:
            if self.size + len(text) + EACH > self.largest:
                self._leave_out()
                return
            written = StreamText()
            self._kept.append(_Kept({"output_type": "stream", "name": name}, EACH, text=written))
            self.size += EACH
        before = written.size
        if self.size + len(text) > self.largest:
            written.carry_out()
            self.size += written.size - before
            before = written.size
        if self.size + len(text) > self.largest:
            self._leave_out()
            return
        written.add(text)
        self.size += written.size - before

    def _leave_out(self) -> None:
        if not self.cut:
            self.cut = True
            self._kept.append(_Kept({"output_type": "stream", "name": "stderr", "text": CUT[self.language]}, 0))


def _output(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "error":
        return {"output_type": kind, **{name: content[name] for name in ("ename", "evalue", "traceback")}}
    found = {"output_type": kind, **_displayed(content)}
    return {**found, "execution_count": content.get("execution_count")} if kind == "execute_result" else found


def _name(content: Mapping[str, Any]) -> str | None:
    name: str | None = (content.get("transient") or {}).get("display_id")
    return name


def _displayed(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": content.get("data") or {}, "metadata": content.get("metadata") or {}}
