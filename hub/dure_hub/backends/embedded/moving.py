"""Readings of GPUs that are not there: smooth functions of time, one for each UUID, the same at every look.

Who holds a GPU works it, with quiet spells; nobody's GPU idles. No state and no random numbers: two processes that
look at the same moment see the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

from dure_hub.backends.base import Device, MigDevice, OwnUse, Reading

V = TypeVar("V")

_IDLE_C, _HOT_C = 31.0, 46.0
"""Degrees of an idle GPU, and how much hotter a busy one is."""


class Lazy(Mapping[str, V]):
    """A mapping whose values are made when they are asked for."""

    def __init__(self, keys: Collection[str], make: Callable[[str], V]) -> None:
        self._keys, self._make = keys, make

    def __getitem__(self, key: str) -> V:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True)
class Body:
    """What a simulated GPU is like: watts at most, and whether it measures the use of MIG instances.

    `compute` is how much of the GPU's processors each MIG profile has, as a share.
    """

    watts: float
    measures_mig: bool
    compute: Mapping[str, float]


def reading(device: Device, body: Body, at: float, held: Collection[str]) -> Reading:
    """One whole GPU at `at` (seconds since the epoch). `held` are the UUIDs in use, MIG ones included."""
    if device.mig_mode:
        parts = [(one, _work(_key(one), at, one.uuid in held)) for one in device.instances]
        busy = sum(body.compute.get(one.profile or "", 0.0) * work for one, work in parts)
        used = [_memory(_key(one), one.memory_mb, at, one.uuid in held) for one in device.instances]
        memory = None if None in used else sum(part or 0 for part in used)
        known = body.measures_mig and bool(parts)
    else:
        busy, known = _work(device.uuid, at, device.uuid in held), True
        memory = _memory(device.uuid, device.memory_mb, at, device.uuid in held)
    return Reading(
        memory_used_mb=memory,
        utilisation=round(busy, 3) if known else None,
        temperature_c=round(_IDLE_C + _HOT_C * busy + 2 * _wave(device.uuid, at, 97, 0), 1),
        power_w=round(body.watts * (0.12 + 0.8 * busy + 0.01 * _wave(device.uuid, at, 23, 1)), 1),
    )


def instance_reading(instance: MigDevice, body: Body, at: float, held: Collection[str]) -> Reading:
    """One MIG instance. Heat and power belong to the whole GPU."""
    key, used = _key(instance), instance.uuid in held
    return Reading(
        memory_used_mb=_memory(key, instance.memory_mb, at, used),
        utilisation=round(_work(key, at, used), 3) if body.measures_mig else None,
    )


def own_uses(whole: Reading, holders: Collection[str], leases: Collection[str]) -> dict[str, OwnUse]:
    """What each of these leases uses of one GPU: its holders do the same each, and all others nothing."""
    found = {}
    for lease in leases:
        part = 1 / len(holders) if lease in holders else 0.0
        busy = None if whole.utilisation is None else round(whole.utilisation * part, 3)
        memory = None if whole.memory_used_mb is None else int(whole.memory_used_mb * part)
        found[lease] = OwnUse(memory, busy) if busy is None else OwnUse(memory, busy, busy, busy)
    return found


def _key(instance: MigDevice) -> str:
    return instance.uuid or ""


def _work(uuid: str, at: float, held: bool) -> float:
    if not held:
        return max(0.0, 0.02 + 0.02 * _wave(uuid, at, 61, 2))
    quiet = 0.15 if _wave(uuid, at, 1800, 3) < -0.8 else 1.0  # between two epochs, or its owner thinks
    return min(max(quiet * (0.68 + 0.2 * _wave(uuid, at, 240, 4) + 0.1 * _wave(uuid, at, 31, 5)), 0.0), 1.0)


def _memory(uuid: str, total_mb: int | None, at: float, held: bool) -> int | None:
    if total_mb is None:
        return None
    share = 0.55 + 0.2 * _wave(uuid, at, 900, 6) if held else 0.006
    return int(total_mb * share)


def _wave(uuid: str, at: float, period_s: float, number: int) -> float:
    """From -1 to 1, once around in `period_s`; `number` tells the waves of one GPU apart."""
    return math.sin(math.tau * (at / period_s + _phases(uuid)[number]))


@lru_cache(maxsize=200_000)
def _phases(uuid: str) -> tuple[float, ...]:
    return tuple(byte / 256 for byte in blake2b(uuid.encode(), digest_size=8).digest())
