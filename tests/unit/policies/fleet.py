"""Machines and profiles to decide about."""

from __future__ import annotations

from dure_hub.catalogue.machine import Gpu, Machine, machine
from dure_hub.catalogue.profiles import ProfileSpec, profiles
from dure_hub.settings import Settings

SETTINGS = Settings(cpu_profile_cores=0.5, cpu_profile_memory_mb=1024)
H100, A100 = "NVIDIA H100", "NVIDIA A100"


def box(cores: int = 8, memory_mb: int = 32768, h100: int = 0, a100: int = 0) -> Machine:
    """A machine with nothing reserved and no overcommitment."""
    found = [Gpu(f"h{n}", H100, 81920) for n in range(h100)] + [Gpu(f"a{n}", A100, 40960) for n in range(a100)]
    return machine(real_cores=cores, overcommit=1, memory_mb=memory_mb, reserved_mb=0, gpus=found)


def offered(place: Machine) -> dict[str, ProfileSpec]:
    """Its profiles."""
    return profiles([place], SETTINGS)
