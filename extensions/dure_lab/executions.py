"""Executions of this server's kernels that a page has asked for, and whose page may be gone before they end.

A page is a session: one connection of one page to one kernel. It *leaves* by closing its socket, as a closed or
reloaded page does; a socket that breaks off may be a laptop asleep, whose page comes back with the same session.
Jupyter gives it what it has missed where it was the last that was connected; where not, it asks here. While the
page that asked is there, nothing is kept beyond the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dure_lab.outputs import Outputs, Unpack

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
    """Whether the notebook file has all that there is so far, or has no place for it."""
    missed: bool = False
    """Whether its own page is to be given it, which was away and was not told by Jupyter."""

    def on_wire(self) -> dict[str, Any]:
        """What a page needs to go on with it: all before `since`, and the messages in `seen`, is in `outputs`."""
        return {
            "id": self.asked,
            "cell": self.cell,
            "code": self.code,
            "outputs": self.outputs.on_wire(),
            "count": self.outputs.count,
            "ended": self.outputs.ended,
            "missed": self.missed,
            "since": self.recent[0][1] if self.recent else "",
            "seen": [name for name, _ in self.recent],
        }


class OfKernel:
    """The executions of one kernel and who is connected to it. Knows no socket and no file."""

    def __init__(self, language: str = "en", largest: int = LARGEST) -> None:
        self._language, self._largest = language, largest
        self._held: dict[str, Execution] = {}
        self._size = 0
        self._open: dict[str, int] = {}
        self._left: set[str] = set()

    @property
    def is_watched(self) -> bool:
        """Whether any page is connected."""
        return bool(self._open)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def connected(self, session: str, replayed: bool = True) -> None:
        """A page is here. `replayed`: where it was here before, Jupyter gives it what it has missed."""
        self._open[session] = self._open.get(session, 0) + 1
        self._left.discard(session)
        if replayed:
            self._drop_ended(session)
            return
        for one in self._held.values():
            one.missed = one.missed or one.session == session

    def disconnected(self, session: str, left: bool, kernel_ended: bool = False) -> None:
        """A socket has closed; `left`: on purpose. Of a kernel that ended before, its page has all there is."""
        count = self._open.get(session, 0) - 1
        if count > 0:
            self._open[session] = count
            return
        self._open.pop(session, None)
        if kernel_ended:
            self.forget([one for one in self._held.values() if one.session == session])
        if left:
            self._left.add(session)
            self._left &= {one.session for one in self._held.values()}

    def ask(self, asked: str, session: str, cell: str, code: str) -> None:
        """A page asks; what the same cell has asked for before is over."""
        self.forget([one for one in self._held.values() if one.cell == cell])
        self._held[asked] = Execution(asked, session, cell, code, Outputs(self._language))

    def take(self, asked: str, kind: str, name: str, date: str, unpack: Unpack, size: int) -> None:
        """A message of the kernel's with this parent, whose content is of this size (see `Outputs.take`)."""
        if kind == "update_display_data":
            for other in self._held.values():
                if other.asked != asked:
                    before = other.outputs.size
                    other.outputs.update(unpack, size)
                    self._size += other.outputs.size - before
        one = self._held.get(asked)
        if one is None:
            return
        if self._size > self._largest:
            self.forget([other for other in self._held.values() if other.written and other.outputs.ended])
        if self._size > self._largest:
            one.outputs.largest = min(one.outputs.largest, one.outputs.size)
        before = one.outputs.size
        one.outputs.take(kind, unpack, size)
        self._size += one.outputs.size - before
        one.recent.append((name, date))
        one.written = False
        if one.outputs.ended and one.session in self._open:
            self.forget([one])

    def holds(self, asked: str) -> bool:
        """Whether this execution's messages are collected."""
        return asked in self._held

    def cut_off(self) -> None:
        """The kernel has ended or was started anew: nothing that runs comes to its end."""
        for one in list(self._held.values()):
            one.outputs.ended = True
            if one.session in self._open or not one.outputs.begun:
                self.forget([one])

    def hand_over(self, session: str, cells: Mapping[str, str | None]) -> list[Execution]:
        """Those of gone pages for these cells, to a page that is connected: from now on they are its own.

        `cells`: the id of each, with its source where the file keeps no ids, so that each page makes others.
        What the page itself has asked for is among them where it has ended and the page has missed of it.
        """
        if session not in self._open:
            return []
        found = []
        for one in self._held.values():
            own = one.session == session and one.missed and one.outputs.ended
            if own or one.session not in self._open:
                cell = place(one, cells)
                if cell is not None:
                    one.session, one.cell, one.missed = session, cell, own
                    found.append(one)
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

    def forget(self, executions: Iterable[Execution]) -> None:
        """They are in the file for good, or nobody needs them any more."""
        for one in executions:
            if self._held.get(one.asked) is one:
                self._size -= one.outputs.size
                del self._held[one.asked]

    def _drop_ended(self, session: str) -> None:
        self.forget([one for one in self._held.values() if one.session == session and one.outputs.ended])


def place(one: Execution, cells: Mapping[str, str | None]) -> str | None:
    """Which of these cells has asked: the one with its id, else the only one with its source; or None.

    `cells`: the source of each by its id, None where the id is the file's own and so is enough.
    """
    if one.cell in cells:
        return one.cell
    same = [cell for cell, source in cells.items() if source == one.code]
    return same[0] if len(same) == 1 else None
