"""MIG instances through NVML: which there are, making one at a place, removing one.

A MIG instance has two halves in NVML: the GPU instance (a piece of memory and processors) and the compute instance
in it, which has the UUID that a process is shown. Without the other half, a GPU instance takes its place all the
same.
"""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import byref, c_uint
from typing import Any

from dure_hub.backends.base import MigDevice, MigRefused
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.driver import Driver, NoDriver, session, why_not_cut
from dure_hub.catalogue.mig import MigGrid, MigProfile

_MOST = 16
"""More instances of one MIG profile than any GPU takes."""


def instances(driver: Driver, gpu: Any, grid: MigGrid | None) -> tuple[MigDevice, ...]:
    """Those of a GPU with MIG on. Who may not see places gets `start` None, and the profile by its size."""
    found = [_seen(driver, gpu, handle, grid) for handle in driver.mig_handles(gpu)]
    numbers = {one.number for one in found}
    for number in _profiles(driver, gpu, grid):
        profile = grid.by_driver_id(number) if grid else None
        for half in _listing(driver, gpu, number) or ():
            info = driver.maybe(driver.lib.nvmlGpuInstanceGetInfo, half)
            if info is not None and info.id not in numbers:
                place, name = info.placement, profile.name if profile else None
                found.append(MigDevice(None, name, place.start, place.size, number=info.id))
    return tuple(found)


def _profiles(driver: Driver, gpu: Any, grid: MigGrid | None) -> Iterable[int]:
    """The driver's id of every MIG profile that this GPU can have, those unknown to the catalogue too."""
    lib = driver.lib
    asked = range(lib.NVML_GPU_INSTANCE_PROFILE_COUNT)
    said = (driver.maybe(lib.nvmlDeviceGetGpuInstanceProfileInfo, gpu, number) for number in asked)
    known = [profile.driver_id for profile in grid.profiles] if grid else []
    return dict.fromkeys([*known, *(int(info.id) for info in said if info is not None)])


def may_carve(driver: Driver, gpu: Any, grid: MigGrid | None) -> bool:
    """Whether this user may make instances: the driver answers its privileged questions."""
    return grid is not None and _listing(driver, gpu, grid.profiles[0].driver_id) is not None


def make(uuid: str, profile: MigProfile, start: int) -> str:
    """Make both halves at this place, or take what of them is there; the UUID to show. Raises `MigRefused`."""
    try:
        with session() as driver:
            made = _make(driver, driver.lib.nvmlDeviceGetHandleByUUID(uuid), profile, start)
    except NoDriver as error:
        raise _refused(uuid, error) from error
    if made is None:
        raise MigRefused(device=uuid, why=gaps.CUT_BY_HAND)
    return made


def remove(uuid: str, profile: MigProfile, start: int) -> None:
    """Remove both halves of what is at this place; nothing there is fine. Raises `MigRefused`."""
    try:
        with session() as driver:
            gpu = driver.lib.nvmlDeviceGetHandleByUUID(uuid)
            half = _at(driver, gpu, profile, start)
            if half is not None:
                for _, compute in _compute_instances(driver, half):
                    driver.lib.nvmlComputeInstanceDestroy(compute)
                driver.lib.nvmlGpuInstanceDestroy(half)
    except NoDriver as error:
        raise _refused(uuid, error) from error


def _refused(uuid: str, error: NoDriver) -> MigRefused:
    cause = error.__cause__
    import pynvml

    known = isinstance(cause, pynvml.NVMLError)
    return MigRefused(device=uuid, why=why_not_cut(cause, pynvml) if known else error.why)


def _make(driver: Driver, gpu: Any, profile: MigProfile, start: int) -> str | None:
    """The UUID; None where the place is taken by an instance that has other parts than one whole."""
    lib = driver.lib
    half, new = _at(driver, gpu, profile, start), False
    if half is None:
        place = lib.c_nvmlGpuInstancePlacement_t(start, profile.size)
        half = lib.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, profile.driver_id, byref(place))
        new = True
    try:
        parts, whole = _compute_instances(driver, half), _whole(driver, half)
        if not parts:
            lib.nvmlGpuInstanceCreateComputeInstance(half, whole)
        elif [kind for kind, _ in parts] != [whole]:
            return None
    except lib.NVMLError:
        if new:  # half an instance is of no use, and would take the place
            driver.maybe(lib.nvmlGpuInstanceDestroy, half)
        raise
    number = lib.nvmlGpuInstanceGetInfo(half).id
    for handle in driver.mig_handles(gpu):
        if driver.maybe(lib.nvmlDeviceGetGpuInstanceId, handle) == number:
            return str(lib.nvmlDeviceGetUUID(handle))
    raise lib.NVMLError(lib.NVML_ERROR_NOT_FOUND)


def _at(driver: Driver, gpu: Any, profile: MigProfile, start: int) -> Any:
    """The GPU instance of this profile at this place; None if there is none. Raises where one may not look."""
    listed = _listing(driver, gpu, profile.driver_id, must=True)
    for half in listed or ():
        if driver.lib.nvmlGpuInstanceGetInfo(half).placement.start == start:
            return half
    return None


def _listing(driver: Driver, gpu: Any, driver_profile: int, *, must: bool = False) -> list[Any] | None:
    lib = driver.lib
    array, count = (lib.c_nvmlGpuInstance_t * _MOST)(), c_uint(_MOST)
    ask = (lib.nvmlDeviceGetGpuInstances, gpu, driver_profile, array, byref(count))
    if must:
        ask[0](*ask[1:])
    elif driver.maybe(*ask) is None:
        return None
    return list(array[: count.value])


def _compute_instances(driver: Driver, half: Any) -> list[tuple[int, Any]]:
    """The compute instances of a GPU instance, each with the id of its compute profile."""
    lib = driver.lib
    found: list[tuple[int, Any]] = []
    for number in range(lib.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        profile = _compute_profile(driver, half, number)
        if profile is not None:
            array, count = (lib.c_nvmlComputeInstance_t * _MOST)(), c_uint(_MOST)
            lib.nvmlGpuInstanceGetComputeInstances(half, profile.id, array, byref(count))
            found += [(int(profile.id), one) for one in array[: count.value]]
    return found


def _whole(driver: Driver, half: Any) -> int:
    """The compute profile that takes all of a GPU instance."""
    lib = driver.lib
    numbers = range(lib.NVML_COMPUTE_INSTANCE_PROFILE_COUNT)
    known = [profile for number in numbers if (profile := _compute_profile(driver, half, number)) is not None]
    if not known:
        raise lib.NVMLError(lib.NVML_ERROR_NOT_SUPPORTED)
    return int(max(known, key=lambda profile: profile.sliceCount).id)


def _compute_profile(driver: Driver, half: Any, number: int) -> Any:
    lib = driver.lib
    shared = lib.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
    return driver.maybe(lib.nvmlGpuInstanceGetComputeInstanceProfileInfo, half, number, shared)


def _seen(driver: Driver, gpu: Any, handle: Any, grid: MigGrid | None) -> MigDevice:
    lib, maybe = driver.lib, driver.maybe
    number = maybe(lib.nvmlDeviceGetGpuInstanceId, handle)
    half = None if number is None else maybe(lib.nvmlDeviceGetGpuInstanceById, gpu, number)
    info = None if half is None else maybe(lib.nvmlGpuInstanceGetInfo, half)
    memory, attributes = maybe(lib.nvmlDeviceGetMemoryInfo, handle), maybe(lib.nvmlDeviceGetAttributes_v2, handle)
    memory_mb = int(memory.total) >> 20 if memory and memory.total else None
    profile: MigProfile | None = None
    if attributes is not None and attributes.computeInstanceSliceCount < attributes.gpuInstanceSliceCount:
        profile = None  # a part of an instance, cut by somebody else: shown, and never given
    elif info is not None:
        profile = grid.by_driver_id(info.profileId) if grid else None
    elif grid is not None and attributes is not None:
        profile = by_size(grid, attributes.gpuInstanceSliceCount, memory_mb, bool(attributes.sharedOfaCount))
    return MigDevice(
        uuid=maybe(lib.nvmlDeviceGetUUID, handle),
        profile=profile.name if profile else None,
        start=info.placement.start if info else None,
        size=info.placement.size if info else None,
        memory_mb=memory_mb,
        number=number,
    )


def by_size(grid: MigGrid, compute: int, memory_mb: int | None, optical_flow: bool) -> MigProfile | None:
    """The profile with so many compute slices and about so much memory; None where two fit alike.

    Only what the driver tells everybody: the optical flow engine sets `+me` apart from the plain profile.
    """
    alike = [one for one in grid.profiles if one.compute == compute]
    if any(one.extra not in ("", "+me") for one in alike):
        return None  # graphics and media engines come in more ways than are told apart here
    if compute < max(one.compute for one in grid.profiles):  # the largest has all engines, and no `+me` beside it
        alike = [one for one in alike if bool(one.extra) == optical_flow]
    if len(alike) < 2:
        return alike[0] if alike else None
    if memory_mb is None or any(one.memory_mb is None for one in alike):
        return None
    return min(alike, key=lambda one: abs((one.memory_mb or 0) - memory_mb))
