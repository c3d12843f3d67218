"""Executions of this server's kernels that a page has asked for, and whose page may be gone before they end.

A page is a session: one connection of one page to one kernel. It *leaves* by closing its socket, as a closed or
reloaded page does; a socket that breaks off may be a laptop asleep, whose page comes back with the same session
and is given by Jupyter what it has missed. While the page that asked is there, nothing is kept beyond the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dure_lab.outputs import Outputs

LARGEST = 20_000_000
"""Characters that are kept for one kernel; of what is put out beyond, nothing."""
_RECENT = 500
"""So many messages are named to a page that takes over, for it to know those that it has already."""


@dataclass
class Execution:
    """One that a cell has asked for."""

    asked: str
    """The id of the message that asked."""
    session: str
    cell: str
    code: str
    outputs: Outputs
    recent: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """Ids and dates of the last messages."""
    written: bool = False
    """Whether the notebook file has all that there is so far."""

    def on_wire(self) -> dict[str, Any]:
        """What a page needs to go on with it: all before `since`, and the messages in `seen`, is in `outputs`."""
        return {
            "id": self.asked,
            "cell": self.cell,
            "code": self.code,
            "outputs": self.outputs.on_wire(),
            "count": self.outputs.count,
            "ended": self.outputs.ended,
            "since": self.recent[0][1] if self.recent else "",
            "seen": [name for name, _ in self.recent],
        }


class OfKernel:
    """The executions of one kernel and who is connected to it. Knows no socket and no file."""

    def __init__(self, language: str = "en", largest: int = LARGEST) -> None:
        self._language, self._largest = language, largest
        self._held: dict[str, Execution] = {}
        self._open: dict[str, int] = {}
        self._left: set[str] = set()

    @property
    def is_watched(self) -> bool:
        """Whether any page is connected."""
        return bool(self._open)

    def connected(self, session: str) -> None:
        """A page is here. One that is here again is given by Jupyter what it has missed, so that is its own."""
        self._open[session] = self._open.get(session, 0) + 1
        self._left.discard(session)
        self._drop_ended(session)

    def disconnected(self, session: str, left: bool) -> None:
        """A socket has closed; `left`: on purpose."""
        count = self._open.get(session, 0) - 1
        if count > 0:
            self._open[session] = count
            return
        self._open.pop(session, None)
        if left:
            self._left.add(session)
            self._left &= {one.session for one in self._held.values()}

    def ask(self, asked: str, session: str, cell: str, code: str) -> None:
        """A page asks; what the same cell has asked for before is over."""
        for one in [one for one in self._held.values() if one.cell == cell]:
            del self._held[one.asked]
        self._held[asked] = Execution(asked, session, cell, code, Outputs(self._language))

    def take(self, asked: str, kind: str, name: str, date: str, content: Mapping[str, Any]) -> None:
        """A message of the kernel's with this parent."""
        if kind == "update_display_data":
            for other in self._held.values():
                if other.asked != asked:
                    other.outputs.update(content)
        one = self._held.get(asked)
        if one is None:
            return
        if sum(other.outputs.size for other in self._held.values()) > self._largest:
            one.outputs.largest = min(one.outputs.largest, one.outputs.size)
        one.outputs.take(kind, content)
        one.recent.append((name, date))
        one.written = False
        if one.outputs.ended and one.session in self._open:
            del self._held[asked]

    def holds(self, asked: str) -> bool:
        """Whether this execution's messages are collected."""
        return asked in self._held

    def cut_off(self) -> None:
        """The kernel has ended or was started anew: nothing that runs comes to its end."""
        for one in list(self._held.values()):
            one.outputs.ended = True
            if one.session in self._open or not one.outputs.begun:
                del self._held[one.asked]

    def hand_over(self, session: str, cells: Sequence[str]) -> list[Execution]:
        """Those of gone pages for these cells, to a page that is connected: from now on they are its own."""
        if session not in self._open:
            return []
        found = [one for one in self._held.values() if one.session not in self._open and one.cell in cells]
        for one in found:
            one.session = session
        self._drop_ended(session)
        return found

    def to_write(self, unfinished: bool, lost: bool) -> list[Execution]:
        """What belongs into the notebook file now: nothing while any page is connected, which has it in memory.

        `unfinished`: also what still runs. `lost`: also what a page asked for that broke off and may come back.
        """
        if self._open:
            return []
        return [
            one
            for one in self._held.values()
            if not one.written
            and one.outputs.begun
            and (unfinished or one.outputs.ended)
            and (lost or one.session in self._left)
        ]

    def forget(self, executions: Sequence[Execution]) -> None:
        """They are in the file for good, or there is no such cell any more."""
        for one in executions:
            if self._held.get(one.asked) is one:
                del self._held[one.asked]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not self._held and not self._open

    def _drop_ended(self, session: str) -> None:
        for one in [one for one in self._held.values() if one.session == session and one.outputs.ended]:
            del self._held[one.asked]
