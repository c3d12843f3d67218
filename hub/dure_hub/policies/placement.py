"""Where a demand fits: whole GPUs by device, cores and memory by counting. Reads no clock, store or machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.verdict import Verdict

CPU = "cpu"
_ROUNDING = 1e-6  # cores are sums of floats


@dataclass(frozen=True)
class Slice:
    """What a lease holds: a GPU's UUID or `cpu`, with the cores and memory (MiB) counted for it, on `node`.

    Of a GPU it is the whole, or the MIG instance `mig` from memory unit `start` (`visible` is its own UUID, None
    until it is made), or a share of `share` thousandths. `team` is whose it is: it matters only to who may share.
    """

    device: str
    cpu_cores: float
    memory_mb: int
    node: str = ""
    mig: str | None = None
    start: int | None = None
    visible: str | None = None
    share: int = 1000
    team: str | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The form kept in the lease's row; what is not said there is as usual."""
        row: dict[str, Any] = {"device": self.device, "cpu_cores": self.cpu_cores, "memory_mb": self.memory_mb}
        if self.node:
            row["node"] = self.node
        if self.mig is not None:
            row |= {"mig": self.mig, "start": self.start, "visible": self.visible}
        if self.share != 1000:
            row["share"] = self.share
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any], team: str | None = None) -> Slice:
        """Back from the lease's row."""
        return cls(
            str(row["device"]),
            float(row["cpu_cores"]),
            int(row["memory_mb"]),
            str(row.get("node", "")),
            row.get("mig"),
            row.get("start"),
            row.get("visible"),
            int(row.get("share", 1000)),
            team,
        )


@dataclass(frozen=True)
class Placement:
    """The verdict, and the slices where it allows."""

    verdict: Verdict
    slices: tuple[Slice, ...] = ()


def place(profile: ProfileSpec, machine: Machine, held: Sequence[Slice]) -> Placement:
    """Place one holder of `profile` beside what is `held`.

    Verdicts: `fits`; `no_gpu_free`, `no_memory_free`, `no_cores_free` (waiting helps); `never_fits` (it does not).
    """
    total = count(profile, machine, ())
    if total == 0:
        return Placement(Verdict.no("never_fits", profile=profile.name, total=0))
    free_gpus = _free_gpus(profile, machine, held)
    room = _room(profile, machine, held)
    facts = {"profile": profile.name, "total": total}
    if len(free_gpus) < profile.gpus:
        return Placement(Verdict.no("no_gpu_free", **facts, free=len(free_gpus), gpu_model=profile.gpu_model))
    if room[1] < profile.memory_mb:
        return Placement(Verdict.no("no_memory_free", **facts, free_mb=room[1], asked_mb=profile.memory_mb))
    if room[0] + _ROUNDING < profile.cpu_cores:
        return Placement(Verdict.no("no_cores_free", **facts, free=room[0], asked=profile.cpu_cores))
    return Placement(Verdict.yes("fits", **facts), _slices(profile, free_gpus[: profile.gpus]))


def count(profile: ProfileSpec, machine: Machine, held: Sequence[Slice]) -> int:
    """How many holders of `profile` fit beside what is held."""
    cores, memory_mb = _room(profile, machine, held)
    limits = [memory_mb // profile.memory_mb if profile.memory_mb else None]
    limits.append(int((cores + _ROUNDING) / profile.cpu_cores) if profile.cpu_cores else None)
    if profile.gpus:
        limits.append(len(_free_gpus(profile, machine, held)) // profile.gpus)
    return max(min((limit for limit in limits if limit is not None), default=0), 0)


def next_best(
    asked: str, profiles: Mapping[str, ProfileSpec], machine: Machine, held: Sequence[Slice]
) -> str | None:
    """A profile that is free now instead of `asked`: the one nearest in GPUs, then in GPU memory. None if none."""
    wanted = profiles.get(asked)
    free = [p for p in profiles.values() if p.name != asked and count(p, machine, held) > 0]
    if wanted is None or not free:
        return None

    def distance(profile: ProfileSpec) -> tuple[int, int, str]:
        apart = abs((profile.gpu_memory_mb or 0) - (wanted.gpu_memory_mb or 0))
        return abs(profile.gpus - wanted.gpus), apart, profile.name

    return min(free, key=distance).name


def _free_gpus(profile: ProfileSpec, machine: Machine, held: Sequence[Slice]) -> list[str]:
    taken = {piece.device for piece in held}
    return [gpu.uuid for gpu in machine.gpus if gpu.model == profile.gpu_model and gpu.uuid not in taken]


def _room(profile: ProfileSpec, machine: Machine, held: Sequence[Slice]) -> tuple[float, int]:
    """Cores and memory that this profile may still use: those without a GPU leave the free GPUs their share."""
    cores = machine.cores - sum(piece.cpu_cores for piece in held)
    memory_mb = machine.memory_mb - sum(piece.memory_mb for piece in held)
    if not profile.gpus:
        taken = {piece.device for piece in held}
        kept = sum(1 for gpu in machine.gpus if gpu.uuid not in taken)
        cores -= kept * machine.cores_per_gpu
        memory_mb -= kept * machine.memory_mb_per_gpu
    return cores, memory_mb


def _slices(profile: ProfileSpec, devices: Sequence[str]) -> tuple[Slice, ...]:
    if not devices:
        return (Slice(CPU, profile.cpu_cores, profile.memory_mb),)
    # the first device carries what does not divide, so that the sum is exact
    each = profile.memory_mb // len(devices)
    rest = profile.memory_mb - each * len(devices)
    cores = profile.cpu_cores / len(devices)
    return tuple(Slice(uuid, cores, each + (rest if i == 0 else 0)) for i, uuid in enumerate(devices))
