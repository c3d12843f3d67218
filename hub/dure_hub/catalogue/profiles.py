"""The profiles a machine offers: `cpu`, and one whole GPU each where there are GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dure_hub.catalogue.machine import Machine
from dure_hub.settings import Settings

Text = Mapping[str, str]


@dataclass(frozen=True)
class ProfileSpec:
    """What a person picks, without what is free of it. Memory in MiB; an unknown value is None.

    A GPU comes in one of three ways: `gpus` whole ones; one MIG instance (`mig` names its MIG profile); or `share`
    thousandths of one GPU beside other holders (`sharing` says how: "time-slice" or "mps"). `gpu_key` is the
    catalogue's entry, None where `gpu_model` is not in the catalogue. `enforced` tells whether the holder's part of
    the GPU's memory is kept by the hardware or driver, or only agreed; None without a GPU.
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


def profiles(machine: Machine, settings: Settings) -> dict[str, ProfileSpec]:
    """Every profile by name, GPUs first. With one GPU model it is `gpu-full`, with more `gpu-full-<model>`."""
    models = sorted({gpu.model for gpu in machine.gpus})
    found: list[ProfileSpec] = []
    for model in models:
        found.append(
            _whole_gpu(model, "gpu-full" if len(models) == 1 else f"gpu-full-{_slug(model)}", machine, settings)
        )
    return {profile.name: profile for profile in [*found, _cpu(settings)]}


def _cpu(settings: Settings) -> ProfileSpec:
    cores, memory = settings.cpu_profile_cores, settings.cpu_profile_memory_mb
    return ProfileSpec(
        name="cpu",
        title={"en": "CPU", "ko": "CPU"},
        description={
            "en": f"A notebook without a GPU: {cores:g} cores promised, {_gib(memory)} of memory.",
            "ko": f"GPU 없는 노트북: 코어 {cores:g}개 보장, 메모리 {_gib(memory)}.",
        },
        cpu_cores=cores,
        memory_mb=memory,
        default_lifetime_s=settings.default_lifetime_s,
        max_lifetime_s=settings.max_lifetime_s,
    )


def _whole_gpu(model: str, name: str, machine: Machine, settings: Settings) -> ProfileSpec:
    memories: Sequence[int | None] = [gpu.memory_mb for gpu in machine.gpus if gpu.model == model]
    known = [memory for memory in memories if memory is not None]
    least = min(known) if len(known) == len(memories) else None
    size_en = f" with {_gib(least)}" if least is not None else ""
    size_ko = f"({_gib(least)})" if least is not None else ""
    return ProfileSpec(
        name=name,
        title={"en": f"One {model}", "ko": f"{model} 1개"},
        description={
            "en": f"A whole {model}{size_en}, yours alone; {machine.cores_per_gpu:g} cores promised and "
            f"{_gib(machine.memory_mb_per_gpu)} of memory.",
            "ko": f"{model}{size_ko} 하나를 혼자 사용합니다. 코어 {machine.cores_per_gpu:g}개 보장, "
            f"메모리 {_gib(machine.memory_mb_per_gpu)}.",
        },
        cpu_cores=machine.cores_per_gpu,
        memory_mb=machine.memory_mb_per_gpu,
        default_lifetime_s=settings.default_lifetime_s,
        max_lifetime_s=settings.max_lifetime_s,
        gpus=1,
        gpu_model=model,
        gpu_memory_mb=least,
    )


def _gib(memory_mb: int) -> str:
    return f"{memory_mb / 1024:.3g} GiB"


def _slug(model: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40]
