"""What one execution has put out, in the form of a notebook file, made from the messages of its kernel.

Pure: values in, values out. The same rules as a page's: streams are joined, a carriage return writes over its
line, a display that is updated changes where it stands, a clearing that waits happens with the next output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST = 2_000_000
"""Characters that are kept of one execution, as JSON; a page that is open has no such bound."""
_OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error"})
CUT = {
    "en": "\n[No page was open, so only the first 2 MB of this output were kept.]\n",
    "ko": "\n[열린 페이지가 없어 이 출력의 처음 2 MB만 보관했습니다.]\n",
}


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
    _kept: list[dict[str, Any]] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)
    _displays: list[str | None] = field(default_factory=list)
    _clear_next: bool = False

    @property
    def size(self) -> int:
        """Characters that are kept."""
        return sum(self._sizes)

    def take(self, kind: str, content: Mapping[str, Any]) -> None:
        """One message of the kernel's whose parent is this execution. Kinds that show nothing are passed over."""
        if kind == "status":
            self.begun = True
            self.ended = self.ended or content.get("execution_state") == "idle"
        elif kind == "execute_input":
            self.count = content.get("execution_count")
        elif kind == "clear_output":
            self._clear_next = True
            if not content.get("wait"):
                self._clear()
        elif kind == "update_display_data":
            self.update(content)
        elif kind in _OUTPUTS:
            self._clear()
            if kind == "execute_result":
                self.count = content.get("execution_count", self.count)
            self._add(kind, content)

    def update(self, content: Mapping[str, Any]) -> None:
        """A display that was shown before looks otherwise now; it may be another execution's."""
        name = (content.get("transient") or {}).get("display_id")
        for place, shown in enumerate(self._displays):
            if name is None or shown != name:
                continue
            found = {**self._kept[place], **_displayed(content)}
            size = _size(found)
            if self.size - self._sizes[place] + size <= self.largest:
                self._kept[place], self._sizes[place] = found, size
            else:
                self._leave_out()

    def in_file(self) -> list[dict[str, Any]]:
        """The outputs as a notebook file has them."""
        return [dict(one) for one in self._kept]

    def on_wire(self) -> list[dict[str, Any]]:
        """The same for a page that goes on from here: with the names of displays that may still be updated."""
        pairs = zip(self._kept, self._displays, strict=True)
        return [dict(one) if name is None else {**one, "transient": {"display_id": name}} for one, name in pairs]

    def _clear(self) -> None:
        if self._clear_next:
            self._clear_next = self.cut = False
            self._kept, self._sizes, self._displays = [], [], []

    def _add(self, kind: str, content: Mapping[str, Any]) -> None:
        if self.cut:
            return
        last = self._kept[-1] if self._kept else {}
        if kind == "stream" and last.get("output_type") == "stream" and last["name"] == content["name"]:
            text = _written(last["text"], content["text"])
            self._keep(len(self._kept) - 1, {**last, "text": text}, None)
        else:
            name = (content.get("transient") or {}).get("display_id")
            self._keep(len(self._kept), _output(kind, content), name)

    def _keep(self, place: int, output: dict[str, Any], display: str | None) -> None:
        size = _size(output)
        if sum(self._sizes[:place]) + size > self.largest:
            self._leave_out()
            return
        self._kept[place:] = [output]
        self._sizes[place:] = [size]
        self._displays[place:] = [display]

    def _leave_out(self) -> None:
        if not self.cut:
            self.cut = True
            self._kept.append({"output_type": "stream", "name": "stderr", "text": CUT[self.language]})
            self._sizes.append(0)
            self._displays.append(None)


def _output(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "stream":
        return {"output_type": kind, "name": content["name"], "text": _written("", content["text"])}
    if kind == "error":
        return {"output_type": kind, **{name: content[name] for name in ("ename", "evalue", "traceback")}}
    found = {"output_type": kind, **_displayed(content)}
    return {**found, "execution_count": content.get("execution_count")} if kind == "execute_result" else found


def _displayed(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": content.get("data") or {}, "metadata": content.get("metadata") or {}}


def _written(before: str, more: str) -> str:
    """Text after text, where a carriage return goes back to the start of its line: a progress bar is one line."""
    start = before.rfind("\n") + 1
    lines = (before[start:] + more).replace("\r\n", "\n").split("\n")
    return before[:start] + "\n".join([*(_line(line).rstrip("\r") for line in lines[:-1]), _line(lines[-1])])


def _line(line: str) -> str:
    """One line with what was written over; a return at its end stays, for what comes next."""
    shown, *over = line.rstrip("\r").split("\r")
    for part in over:
        shown = part + shown[len(part) :]
    return shown + "\r" if line.endswith("\r") else shown


def _size(output: Mapping[str, Any]) -> int:
    if output["output_type"] == "stream":
        return len(output["text"])
    return len(json.dumps(output, default=str))
