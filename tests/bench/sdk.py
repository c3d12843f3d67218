"""How light the SDK is in fresh interpreters, beside the libraries it stands on.

`sdk_import`: `import dure` against `import httpx`. `sdk_first_use`: what a person's first call needs
(functions, wire types, a client) against `import httpx, pydantic`, which it cannot be lighter than; it informs
and promises nothing. Byte code and the disk's cache are warm for both.

An interpreter's own start is in both halves of a pair and draws their ratio towards 1, which flatters whichever
is the heavier. So an empty interpreter is timed beside each, and a figure is given both ways: with the start
and without. The one kept is whichever has the larger ratio, the stricter for us; its unit says which that was.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from tests.bench.record import Figure, compared, pairs, shown

WHAT = {
    "sdk_import": (
        "`import dure` in a fresh interpreter against `import httpx`; with the interpreter's own start or"
        " without, whichever is the worse for us."
    ),
    "sdk_first_use": (
        "What the SDK's first call loads, a client included, against `import httpx, pydantic`; with the"
        " interpreter's own start or without, whichever is the worse for us. It informs and has no target."
    ),
}
PAIRS = 9
FIRST_USE = (
    "import dure; dure.train, dure.models.register, dure.wire.Job;"
    "from dure.client import Client; Client('http://127.0.0.1:1', 'token')"
)

Timed = tuple[float, float]
"""Seconds of a fresh interpreter that does something, and of one beside it that does nothing."""


def run() -> list[Figure]:
    """Nine pairs of each."""
    seconds(f"import httpx, pydantic; {FIRST_USE}")
    light = pairs(lambda: timed("import dure"), lambda: timed("import httpx"), PAIRS)
    used = pairs(lambda: timed(FIRST_USE), lambda: timed("import httpx, pydantic"), PAIRS)
    light_unit, light_s = stricter(light)
    used_unit, used_s = stricter(used)
    return [compared("sdk_import", light_unit, light_s, at_most=1.5), shown("sdk_first_use", used_unit, used_s)]


def timed(code: str) -> Timed:
    """This code, and an empty interpreter right after."""
    return seconds(code), seconds("pass")


def seconds(code: str) -> float:
    """How long a fresh interpreter takes for this code, its own start included."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def stricter(measured: Sequence[tuple[Timed, Timed]]) -> tuple[str, list[tuple[float, float]]]:
    """Unit and pairs, with the interpreter's start or without: whichever gives the larger median ratio."""
    whole = [(ours, theirs) for (ours, _), (theirs, _) in measured]
    rest = [(ours - start, theirs - other) for (ours, start), (theirs, other) in measured]
    if _ratio(rest) > _ratio(whole):
        return "s, less Python's start", rest
    return "s", whole


def _ratio(measured: Sequence[tuple[float, float]]) -> float:
    return median(ours / theirs for ours, theirs in measured)
