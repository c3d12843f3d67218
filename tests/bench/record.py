"""How a figure is made: ours and the reference by turns, the median of the paired ratios, and what it was up to.

The machine's other load moves an absolute figure by more than any change of ours; it moves both halves of a pair
alike. So ratios count, and each figure says how many pairs it is from and how busy the machine was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
FILE = BUILD / "bench.jsonl"

Sample = TypeVar("Sample")


class ReferenceMissing(Exception):
    """What a figure is compared with is not on this machine; the text says how to bring it."""


@dataclass(frozen=True)
class Figure:
    """One line of build/bench.jsonl. `baseline` and `ratio` are null where the figure is absolute.

    `target` is empty where the figure only informs; there is nothing to miss then, so it counts as met.
    """

    name: str
    unit: str
    ours: float
    baseline: float | None
    ratio: float | None
    target: str
    met: bool
    pairs: int
    load_average: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def pairs(ours: Callable[[], Sample], baseline: Callable[[], Sample], n: int = 5) -> list[tuple[Sample, Sample]]:
    """Measure both `n` times by turns; who goes first changes each time."""
    found: list[tuple[Sample, Sample]] = []
    for number in range(n):
        if number % 2:
            theirs = baseline()
            found.append((ours(), theirs))
        else:
            mine = ours()
            found.append((mine, baseline()))
    return found


def compared(
    name: str,
    unit: str,
    measured: Sequence[tuple[float, float]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The median of ours/baseline over the pairs, against exactly one of the two bounds."""
    target = _target(at_least, at_most)
    figure = shown(name, unit, measured)
    ratio = median(mine / theirs for mine, theirs in measured)
    return replace(figure, target=target, met=_within(ratio, at_least, at_most))


def shown(name: str, unit: str, measured: Sequence[tuple[float, float]]) -> Figure:
    """The median of ours/baseline over the pairs, where nothing is promised of it."""
    return Figure(
        name=name,
        unit=unit,
        ours=_rounded(median(mine for mine, _ in measured)),
        baseline=_rounded(median(theirs for _, theirs in measured)),
        ratio=_rounded(median(mine / theirs for mine, theirs in measured)),
        target="",
        met=True,
        pairs=len(measured),
    )


def absolute(
    name: str,
    unit: str,
    measured: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The median of figures that have no reference."""
    value = median(measured)
    met = _within(value, at_least, at_most)
    target = _target(at_least, at_most)
    return Figure(name, unit, _rounded(value), None, None, target, met, len(measured))


def keep(figure: Figure, file: Path = FILE) -> None:
    """Add a figure to the file of all runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.write(json.dumps(asdict(figure)) + "\n")


def _target(at_least: float | None, at_most: float | None) -> str:
    if (at_least is None) == (at_most is None):
        raise ValueError("give at_least or at_most")
    return f"<= {at_most:g}" if at_least is None else f">= {at_least:g}"


def _within(value: float, at_least: float | None, at_most: float | None) -> bool:
    return value >= at_least if at_least is not None else at_most is not None and value <= at_most


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
