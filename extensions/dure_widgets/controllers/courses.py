"""The metrics of a run as a monitor keeps them: read on from where it was, and thinned for whoever comes late."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dure_widgets.portal import Portal

MOST_METRICS = 24
"""So many courses are read at a look; the names of all are known."""
MOST_NAMES = 1000
PAGE, PAGES = 5000, 4
"""Points that one question asks for, and questions about one metric at one look; the next look reads on."""
MOST_POINTS = 2000
"""Of one metric in one message. More than a plot has columns is thinned to the extremes of each stretch."""
LOSS, SHARE = re.compile("loss", re.I), re.compile("acc|auc|f1|precision|recall|score|iou|r2", re.I)

Last = tuple[int, float | None]


class Course:
    """One metric's points in the order they were logged in; 16 bytes each."""

    def __init__(self) -> None:
        self.steps, self.values = array("q"), array("d")
        self.span: tuple[int, int] | None = None
        """Its lowest and its highest step."""
        self.last: Last | None = None
        self.whole = False
        """Whether all was read that the run had by `last`."""
        self.ended = False
        """Whether that was after the job's end."""

    def add(self, points: Sequence[tuple[int, float]]) -> None:
        """Append what was read next."""
        self.steps.extend(step for step, _ in points)
        self.values.extend(value for _, value in points)
        steps = [*(self.span or ()), *(step for step, _ in points)]
        self.span = (min(steps), max(steps)) if steps else None

    def piece(self, start: int) -> dict[str, Any] | None:
        """What a view lacks that has the first `start` points; None where it has all."""
        count = len(self.steps)
        if start >= count:
            return None
        rows = thinned([*zip(self.steps[start:], self.values[start:], strict=True)], MOST_POINTS)
        return {"from": start, "next": count, "rows": [[step, finite(value)] for step, value in rows]}


class Courses:
    """The courses of one run."""

    def __init__(self, portal: Portal, run: str) -> None:
        self._portal, self.run = portal, run
        self._courses: dict[str, Course] = {}
        self._listed: list[list[Any]] = []

    def look(self, has: Mapping[str, Any], ended: bool, news: dict[str, Any]) -> bool:
        """Add what the browser lacks; whether it then has all of a job that has ended.

        `has` tells which metrics are drawn (`on`; the obvious ones where nobody chose yet), how many points it has
        of each (`have`), and whether it knows the names.
        """
        latest = {name: (step, finite(value)) for name, (step, value) in self._portal.metrics(self.run).items()}
        names = in_order(latest)
        drawn = obvious(names)
        chosen = has.get("on")
        on = [name for name in (drawn if chosen is None else chosen) if name in latest][:MOST_METRICS]
        listed = [[name, latest[name][1]] for name in names[:MOST_NAMES]]
        if names and (listed != self._listed or not has.get("names")):
            news["metrics"] = {"all": listed, "count": len(names), "on": drawn}
        self._listed = listed
        over, have = True, has.get("have") or {}
        for name in on:
            course = self._courses.setdefault(name, Course())
            self._read(name, course, latest[name], ended)
            piece = course.piece(int(have.get(name) or 0))
            if piece is not None:
                news.setdefault("points", {})[name] = piece
            over = over and course.whole and course.ended
        return over

    def _read(self, name: str, course: Course, last: Last, ended: bool) -> None:
        """Read on where something is new, and once after the job's end, as a lower step may have come last."""
        if course.whole and course.last == last and (course.ended or not ended):
            return
        course.whole = False
        for _ in range(PAGES):
            points = self._portal.history(self.run, name, len(course.steps), PAGE)
            course.add(points)
            if len(points) < PAGE:
                course.last, course.whole, course.ended = last, True, ended
                return

    def span(self) -> tuple[int, int] | None:
        """The lowest and the highest step that was read; None without any."""
        ends = [course.span for course in self._courses.values() if course.span is not None]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


def finite(value: float) -> float | None:
    """JSON has no word for what is not finite, and NaN does not equal itself; the curve has a gap there."""
    return value if math.isfinite(value) else None


def in_order(names: Iterable[str]) -> list[str]:
    """What people look for first: losses, then shares such as accuracy, then the rest."""
    return sorted(names, key=lambda name: (0 if LOSS.search(name) else 1 if SHARE.search(name) else 2, name))


def obvious(names: Sequence[str]) -> list[str]:
    """What is drawn until somebody chooses: two losses and a share, else the first two."""
    losses = [name for name in names if LOSS.search(name)][:2]
    shares = [name for name in names if SHARE.search(name) and not LOSS.search(name)][:1]
    return losses + shares or [*names[:2]]


def thinned(rows: Sequence[tuple[int, float]], most: int) -> Sequence[tuple[int, float]]:
    """At most about so many rows: the lowest and the highest of each stretch, in their order, and the last one."""
    if len(rows) <= most:
        return rows
    size = math.ceil(len(rows) * 2 / most)
    kept: list[tuple[int, float]] = []
    for start in range(0, len(rows), size):
        stretch = range(start, min(start + size, len(rows)))
        known = [at for at in stretch if math.isfinite(rows[at][1])] or [start]
        ends = {min(known, key=lambda at: rows[at][1]), max(known, key=lambda at: rows[at][1])}
        kept.extend(rows[at] for at in sorted(ends))
    return kept if kept[-1] == rows[-1] else [*kept, rows[-1]]
