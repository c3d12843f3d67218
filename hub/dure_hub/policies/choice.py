"""Which profile is marked at first for who is about to start a server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A profile as far as this matters: all of its GPU memory (MiB; None is unknown, 0 is no GPU), its rate."""

    name: str
    gpu_memory_mb: int | None
    rate: int | None
    free: bool


def memory_of(gpus: int, gpu_memory_mb: int | None, has_gpu: bool) -> int | None:
    """All of a profile's GPU memory in MiB."""
    if not has_gpu:
        return 0
    return None if gpu_memory_mb is None else gpu_memory_mb * max(gpus, 1)


def usual(offered: Sequence[Choice], last: str | None) -> str | None:
    """The cheapest profile with as much GPU memory as the last one had; without a last one, the cheapest free.

    Of those that cost the same the last one itself, then one that is free, then the first. What cannot be compared
    (an unknown memory) is the last one itself. None where nothing is offered.
    """
    known = {one.name: one for one in offered}
    before = known.get(last or "")
    if before is not None and before.gpu_memory_mb is None:
        return before.name
    if before is not None and before.gpu_memory_mb is not None:
        least = before.gpu_memory_mb
        fits = [one for one in offered if one.gpu_memory_mb is not None and one.gpu_memory_mb >= least]
        return min(fits, key=lambda one: (_dearness(one), one is not before, not one.free)).name
    free = [one for one in offered if one.free]
    return min(free or offered, key=_dearness).name if offered else None


def _dearness(one: Choice) -> tuple[bool, float]:
    # without a GPU it is the cheapest, whatever the rate card knows of it
    return one.gpu_memory_mb != 0, math.inf if one.rate is None else one.rate
