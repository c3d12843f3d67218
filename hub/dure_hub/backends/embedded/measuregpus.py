"""What each lease's own processes use of GPUs that several may share.

NVML names processes by number; whose each is, is known by its mark. Three kinds cannot be told: one that has ended
since its sample; MPS's own server, which computes for its clients; and in a container every number, as soon as one
of them is not ours, for there drivers give those of the machine outside. What they did could be anybody's: nobody
is idle by it.

The meter's figure is the mean of the last seconds. What idleness is judged by is the most of the whole stretch, so
that short work between two looks counts: the sum of each process's own most, which is never below the truth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dure_hub.backends.base import OwnUse, Reading
from dure_hub.backends.embedded import processes
from dure_hub.backends.embedded.carriers import Carriers
from dure_hub.backends.embedded.nvmlprocesses import OnGpu, Sample
from dure_hub.settings import Settings

OUTSIDE = ""
"""In place of a lease: a process that is none of ours."""
RECENT_S = 5.0
"""Of the meter: some of the driver's samples, which are up to a second apart."""
_FIRST_NAMESPACE = "pid:[4026531836]"
"""Of process numbers: the machine's own. Linux gives it the same number everywhere."""
_MPS = "nvidia-cuda-mps-server"[:15]
"""Linux keeps so much of a process's name."""

Owners = Mapping[int, str | None]
"""Whose a process is by its number: a lease's, `OUTSIDE`, or None where it cannot be told."""


def sees_all() -> bool:
    """Whether this process sees every process of the machine, under the number that the driver gives it."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE
    except OSError:
        return False


def numbers(seen: Iterable[OnGpu]) -> set[int]:
    """Every process that the driver names."""
    return {pid for one in seen for pid in (*(sample.pid for sample in one.samples or ()), *(one.memory or ()))}


def owners(settings: Settings, leases: Mapping[int, str], pids: Collection[int], sees_all: bool) -> Owners:
    """Whose these are. `leases` is who was ours before the GPUs were looked at; who came since is looked for."""
    if any(pid not in leases for pid in pids):
        leases = {**leases, **{process.pid: process.lease for process in Carriers(settings).marked()}}
    if not sees_all and any(pid not in leases for pid in pids):
        return dict.fromkeys(pids)  # the numbers are of the machine outside: that one is ours here means nothing
    return {pid: leases.get(pid, OUTSIDE if sees_all and _is_somebodys(pid) else None) for pid in pids}


def own(seen: OnGpu, whole: Reading, leases: Collection[str], whose: Owners, sees_all: bool) -> dict[str, OwnUse]:
    """What each of these leases, all of which have processes, uses of one GPU."""
    at_most = 1.0 if whole.utilisation is None else whole.utilisation
    memory = {lease: _memory_mb(seen, lease, whose, sees_all) for lease in leases}
    if seen.samples is None:
        return {lease: OwnUse(memory[lease], most=at_most) for lease in leases}
    recent = [sample for sample in seen.samples if sample.at >= seen.at - RECENT_S]
    # a GPU at work without a sample of anybody at it: not all was sampled
    silent = 0.0 if any(sample.busy != 0 for sample in recent) else at_most
    works = _works(seen.samples)
    hidden = silent + sum(work.most for pid, work in works.items() if whose.get(pid) is None)
    found = {}
    for lease in leases:
        ours = [work for pid, work in works.items() if whose.get(pid) == lease]
        found[lease] = OwnUse(
            memory[lease],
            None if silent else _mean(recent, seen.at, lease, whose),
            least=_share(sum(work.least for work in ours)),
            most=_share(sum(work.most for work in ours) + hidden),
        )
    return found


@dataclass(frozen=True)
class _Work:
    """How busy a process was at most: at least, and at most, so much."""

    least: float
    most: float


def _works(samples: Sequence[Sample]) -> dict[int, _Work]:
    found: dict[int, _Work] = {}
    for sample in samples:
        before = found.get(sample.pid, _Work(0.0, 0.0))
        least, most = (0.0, 1.0) if sample.busy is None else (sample.busy, sample.busy)
        found[sample.pid] = _Work(max(before.least, least), max(before.most, most))
    return found


def _mean(recent: Sequence[Sample], until: float, lease: str, whose: Owners) -> float | None:
    """The mean of what a lease's processes did together in each second of which there is a sample of anybody.

    None where some of it may be missing.
    """
    seconds: dict[int, dict[int, list[float]]] = {}
    for sample in recent:
        owner = whose.get(sample.pid)
        if (owner is None and sample.busy != 0) or (owner == lease and sample.busy is None):
            return None
        found = seconds.setdefault(int(until - sample.at), {})
        if owner == lease and sample.busy is not None:
            found.setdefault(sample.pid, []).append(sample.busy)
    means = [sum(sum(one) / len(one) for one in found.values()) for found in seconds.values()]
    return _share(sum(min(mean, 1.0) for mean in means) / len(means)) if means else 0.0


def _share(total: float) -> float:
    """Of one GPU there is no more than all; rounded, lest a sum of hundredths be above one of them by a hair."""
    return round(min(total, 1.0), 3)


def _memory_mb(seen: OnGpu, lease: str, whose: Owners, sees_all: bool) -> int | None:
    if seen.memory is None:
        return None
    holders = {whose.get(pid) for pid in seen.memory}
    # in a container, a list without any of ours may be one that leaves them out
    if None in holders or not (sees_all or holders - {OUTSIDE}):
        return None
    parts = [part for pid, part in seen.memory.items() if whose.get(pid) == lease]
    known = [part for part in parts if part is not None]
    return sum(known) >> 20 if len(known) == len(parts) else None


def _is_somebodys(pid: int) -> bool:
    """Whether a process that is none of ours is there, and computes for itself."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return False
    return name != _MPS and processes.find(pid) is not None
