"""The profiles a fleet offers: `cpu`, whole GPUs, MIG instances, and shares of GPUs, with words and prices."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dure_hub.catalogue import words
from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.rates import CPU, GIVEN, RateCard, part_of, price_of_part
from dure_hub.settings import Settings

Text = Mapping[str, str]


@dataclass(frozen=True)
class Volume:
    """A volume claim at a path of a server."""

    claim: str
    path: str
    read_only: bool = True


GROUPS = (2, 4, 8)
"""How many GPUs of one node a profile may have, beside one."""
FRACTIONS = {"PROF-4Q": 4, "PROF-8Q": 8, "PROF-12Q": 12, "PROF-16Q": 16, "PROF-24Q": 24}
"""Profiles of a 24 GB card that is shared by memory, with their GB: at most 6, 3, 2, 1 and 1 holders."""
_CARD_GB = 24
_CARD_MB = (22_900, 25 * 1024)
"""Drivers show less than is sold: 24564 MiB of an RTX 4090, 23028 of an A10, which keeps its ECC in its memory."""


_LEAST_CORES = 0.01


@dataclass(frozen=True)
class ProfileSpec:
    """What a person picks, without what is free of it. Memory in MiB; an unknown value is None. Lifetimes are
    those of servers: a job or execution may run as long on any profile.

    A GPU comes in one of three ways: `gpus` whole ones; one MIG instance (`mig` names its MIG profile); or `share`
    thousandths of one GPU beside other holders (`sharing` says how: "time-slice" or "mps"). `gpu_key` is the
    catalogue's entry, None where `gpu_model` is not in the catalogue. `enforced` tells whether the holder's part
    of the GPU's memory is kept by the hardware or driver, or only agreed; None without a GPU. `groups` are the
    teams that may pick it; none is everybody.

    `image` is what its servers are made from, None what whoever asks chooses; members of `any_image_groups` may
    name any container image. `volumes` and `shm_mb` are what its servers have, where they are containers.
    """

    name: str
    title: Text
    description: Text
    cpu_cores: float
    memory_mb: int
    default_lifetime_s: int
    max_lifetime_s: int
    gpus: int = 0
    gpu_model: str | None = None
    gpu_memory_mb: int | None = None
    rate: int | None = None
    gpu_key: str | None = None
    mig: str | None = None
    share: int = 0
    sharing: str = ""
    enforced: bool | None = None
    groups: frozenset[str] = frozenset()
    image: str | None = None
    any_image_groups: frozenset[str] = frozenset()
    volumes: tuple[Volume, ...] = ()
    shm_mb: int | None = None


def profiles(
    machines: Sequence[Machine], settings: Settings, rates: RateCard = GIVEN, at: datetime | None = None
) -> dict[str, ProfileSpec]:
    """Every profile by name, GPUs first, `cpu` last, priced as of `at` (None: no prices).

    With one GPU model its profiles are `gpu-full`, `gpu-full-x2`, `gpu-shared`; with more, each name ends in the
    model. A MIG profile's name ends so only where two grids use it for parts of unlike size.
    """
    offer = _Offer(machines, settings, rates, at)
    found = [*offer.whole(), *offer.instances(), *offer.shares(), offer.cpu()]
    return {profile.name: profile for profile in found}


def replicas(memory_mb: int | None, settings: Settings) -> int:
    """How many holders a whole GPU of so much memory may have at most under these settings; 0 is not shared."""
    if settings.gpu_sharing == "memory":
        fits = memory_mb is not None and _CARD_MB[0] <= memory_mb <= _CARD_MB[1]
        return _CARD_GB // min(FRACTIONS.values()) if fits else 0
    return 0 if settings.gpu_sharing == "none" else settings.gpu_replicas


@dataclass(frozen=True)
class _Kind:
    """GPUs that people cannot tell apart: one model, with what comes with one on the poorest of their nodes. `key`
    is what tells it from other models in a profile's name."""

    key: str
    gpu: Gpu
    cores: float
    memory_mb: int
    most: int
    gpu_memory_mb: int | None
    migs: frozenset[str]


class _Offer:
    def __init__(
        self, machines: Sequence[Machine], settings: Settings, rates: RateCard, at: datetime | None
    ) -> None:
        self._settings, self._rates, self._at = settings, rates, at
        kinds = _kinds(machines)
        self._cut = [kind for kind in kinds if kind.gpu.grid is not None]
        self._whole = [kind for kind in kinds if kind.gpu.grid is None and not kind.gpu.replicas]
        self._shared = [kind for kind in kinds if kind.gpu.grid is None and kind.gpu.replicas]

    def cpu(self) -> ProfileSpec:
        """A notebook without a GPU."""
        cores, memory = self._settings.cpu_profile_cores, self._settings.cpu_profile_memory_mb
        core = self._rate(CPU)
        return ProfileSpec(
            name="cpu",
            title={"en": "CPU", "ko": "CPU"},
            description=words.cpu(cores, memory),
            cpu_cores=cores,
            memory_mb=memory,
            rate=None if core is None else round(core * cores),
            default_lifetime_s=self._settings.default_lifetime_s,
            max_lifetime_s=self._settings.max_lifetime_s,
        )

    def whole(self) -> Iterator[ProfileSpec]:
        """One, two, four or eight whole GPUs of a node, of each model that is not shared."""
        models = {kind.key for kind in (*self._whole, *self._shared)}
        for kind in self._whole:
            ending = "" if len(models) == 1 else f"-{kind.key}"
            for number in (1, *(group for group in GROUPS if group <= kind.most)):
                name = f"gpu-full{ending}" + (f"-x{number}" if number > 1 else "")
                cores, memory = _part(kind, (number, 1))
                rate = self._rate(kind.gpu.key)
                yield self._gpu(
                    kind,
                    name,
                    words.whole_title(kind.gpu.model, number),
                    words.whole(kind.gpu.model, number, kind.gpu_memory_mb, cores, memory),
                    cores=cores,
                    memory_mb=memory,
                    gpus=number,
                    gpu_memory_mb=kind.gpu_memory_mb,
                    rate=None if rate is None else rate * number,
                    enforced=True,
                )

    def instances(self) -> Iterator[ProfileSpec]:
        """A MIG instance of each profile that is there or may be made. One name is one model: it has one price."""
        offered = [
            (kind, grid, one)
            for kind in self._cut
            if (grid := kind.gpu.grid) is not None
            for one in grid.profiles
            if one.name in kind.migs
        ]
        for kind, grid, one in offered:
            alone = all(other.key == kind.key for other, _, rival in offered if rival.name == one.name)
            yield self._instance(kind, grid, one, f"mig-{one.name}" + ("" if alone else f"-{kind.key}"))

    def shares(self) -> Iterator[ProfileSpec]:
        """A share of a GPU of each model that is shared."""
        by_memory = self._settings.gpu_sharing == "memory"
        for kind in self._shared:
            ending = "" if len(self._shared) == 1 else f"-{kind.key}"
            parts = {f"{name}{ending}": (gb, _CARD_GB) for name, gb in FRACTIONS.items()}
            for name, part in (parts if by_memory else {f"gpu-shared{ending}": (1, kind.gpu.replicas)}).items():
                yield self._share(kind, name, part)

    def _instance(self, kind: _Kind, grid: MigGrid, one: MigProfile, name: str) -> ProfileSpec:
        part = part_of(grid, one)
        cores, memory = _part(kind, part)
        return self._gpu(
            kind,
            name,
            words.instance_title(one.name),
            words.instance(kind.gpu.model, one, cores, memory),
            cores=cores,
            memory_mb=memory,
            mig=one.name,
            gpu_memory_mb=one.memory_mb,
            rate=price_of_part(self._rate(kind.gpu.key), part),
            enforced=True,
        )

    def _share(self, kind: _Kind, name: str, part: tuple[int, int]) -> ProfileSpec:
        cores, memory = _part(kind, part)
        size = None if kind.gpu_memory_mb is None else kind.gpu_memory_mb * part[0] // part[1]
        sharing = "mps" if kind.gpu.mps else "time-slice"
        return self._gpu(
            kind,
            name,
            words.share_title(name, kind.gpu.model),
            words.share(
                kind.gpu.model,
                part,
                size,
                cores,
                memory,
                enforced=kind.gpu.mps,
                across=self._settings.share_across_teams,
                common_shm=kind.gpu.mps and self._settings.on_cluster,
            ),
            cores=cores,
            memory_mb=memory,
            share=1000 * part[0] // part[1],
            sharing=sharing,
            gpu_memory_mb=size,
            rate=price_of_part(self._rate(kind.gpu.key), part),
            enforced=kind.gpu.mps,
        )

    def _gpu(
        self,
        kind: _Kind,
        name: str,
        title: Text,
        description: Text,
        *,
        cores: float,
        memory_mb: int,
        gpus: int = 0,
        mig: str | None = None,
        share: int = 0,
        sharing: str = "",
        gpu_memory_mb: int | None,
        rate: int | None,
        enforced: bool,
    ) -> ProfileSpec:
        return ProfileSpec(
            name=name,
            title=title,
            description=description,
            cpu_cores=cores,
            memory_mb=memory_mb,
            default_lifetime_s=min(self._settings.gpu_default_lifetime_s, self._settings.default_lifetime_s),
            max_lifetime_s=min(self._settings.gpu_max_lifetime_s, self._settings.max_lifetime_s),
            gpus=gpus,
            gpu_model=kind.gpu.model,
            gpu_memory_mb=gpu_memory_mb,
            rate=rate,
            gpu_key=kind.gpu.key,
            mig=mig,
            share=share,
            sharing=sharing,
            enforced=enforced,
        )

    def _rate(self, key: str | None) -> int | None:
        return None if self._at is None else self._rates.at(key, self._at)


def _kinds(machines: Sequence[Machine]) -> list[_Kind]:
    """By catalogue entry (a driver has several names for one), else by name; and by how a GPU is given: in
    instances, in shares, or whole.
    """
    on: dict[tuple[str, str, bool, bool], list[tuple[Machine, Gpu]]] = {}
    for machine in machines:
        for gpu in machine.gpus:
            name = "" if gpu.key else gpu.model
            kind = (gpu.key or _slug(gpu.model), name, gpu.grid is not None, gpu.replicas > 0)
            on.setdefault(kind, []).append((machine, gpu))
    names: dict[str, list[str]] = {}
    for key, name, *_ in sorted(on):
        if name not in names.setdefault(key, []):
            names[key].append(name)
    return [_kind(_numbered(kind[0], names[kind[0]].index(kind[1])), on[kind]) for kind in sorted(on)]


def _numbered(key: str, before: int) -> str:
    """Models whose names differ only in what a profile's name cannot say get a number."""
    return f"{key}-{before + 1}" if before else key


def _kind(key: str, pairs: Sequence[tuple[Machine, Gpu]]) -> _Kind:
    """`most` is how many GPUs of the kind the richest node has."""
    memories = [gpu.memory_mb for _, gpu in pairs]
    known = [memory for memory in memories if memory is not None]
    migs = {one.profile for _, gpu in pairs for one in gpu.instances}
    for _, gpu in pairs:
        if gpu.dynamic and gpu.grid is not None:
            migs |= {one.name for one in gpu.grid.profiles}
    nodes = {id(machine): machine for machine, _ in pairs}.values()
    return _Kind(
        key=key,
        gpu=pairs[0][1],
        cores=min(machine.cores_per_gpu for machine in nodes),
        memory_mb=min(machine.memory_mb_per_gpu for machine in nodes),
        most=max(Counter(id(machine) for machine, _ in pairs).values()),
        gpu_memory_mb=min(known) if len(known) == len(memories) else None,
        migs=frozenset(migs),
    )


def _part(kind: _Kind, part: tuple[int, int]) -> tuple[float, int]:
    """Cores and memory that come with a part of a GPU: its part of the GPU's own, rounded down so that all parts
    of a GPU fit beside each other, in hundredths of a core. Never nothing: a node with less than that to give for
    each part has no room for all of them.
    """
    numerator, denominator = part
    cores = math.floor(100 * kind.cores * numerator / denominator) / 100
    return max(cores, _LEAST_CORES), max(kind.memory_mb * numerator // denominator, 1)


def _slug(model: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40] or "gpu"
