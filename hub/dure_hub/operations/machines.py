"""What was seen of the nodes, as placement counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dure_hub.backends.base import Device, Inventory, MigDevice, NodeInventory
from dure_hub.catalogue import gpus
from dure_hub.catalogue.machine import Gpu, Machine, MigInstance, machine
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import replicas
from dure_hub.settings import Settings

_NOTHING: frozenset[int] = frozenset()
Units = Mapping[str, frozenset[int]]
"""Memory units of GPUs, by the GPU's UUID."""


def machines_of(inventory: Inventory, settings: Settings, refused: Units | None = None) -> tuple[Machine, ...]:
    """A machine for each node. The portal's own memory is kept on its own node, the first, if it is a real one of
    its own; on a cluster its pods ask for what they need, as all others do.

    The units in `refused` are given to nobody.
    """
    own_mb = 0 if inventory.simulated or settings.on_cluster else settings.memory_reserved_mb
    return tuple(
        _machine(node, settings, own_mb if number == 0 else 0, refused or {})
        for number, node in enumerate(inventory.by_node())
    )


def _machine(node: NodeInventory, settings: Settings, reserved_mb: int, refused: Units) -> Machine:
    made = machine(
        real_cores=node.cpu_cores,
        overcommit=settings.cpu_overcommit,
        memory_mb=node.memory_mb,
        reserved_mb=reserved_mb,
        gpus=[gpu_of(one, settings, refused.get(one.uuid, _NOTHING)) for one in node.devices if offered(one)],
        name=node.name,
        pool=node.pool,
        gpus_only=node.gpus_only,
    )
    return replace(
        made,
        pods=node.pods,
        held_cores=node.held_cores * settings.cpu_overcommit,
        held_memory_mb=node.held_memory_mb,
        held_pods=node.held_pods,
        closed=node.closed,
    )


def offered(device: Device) -> bool:
    """Whether it may be given to anybody, now or later. With MIG on and no grid known, nobody can tell what of it
    is free."""
    return (device.usable or bool(device.barred)) and not (device.mig_mode and _grid(device) is None)


def gpu_of(device: Device, settings: Settings, refused: frozenset[int] = _NOTHING) -> Gpu:
    """A GPU as placement counts it: with MIG on given in instances, but for its `refused` units; else whole."""
    grid = _grid(device) if device.mig_mode else None
    # where an instance lies is unknown, a new one could be promised where there is no room for it
    knows = grid is not None and all(one.start is not None for one in device.instances)
    holders, by_mps = device.shared or (replicas(device.memory_mb, settings), settings.gpu_sharing == "mps")
    return Gpu(
        uuid=device.uuid,
        model=device.name,
        memory_mb=device.memory_mb,
        key=device.key,
        grid=grid,
        instances=instances_of(device.instances, grid) if grid else (),
        dynamic=device.carves and settings.mig_dynamic and knows,
        group=device.group,
        replicas=0 if grid is not None else holders,
        mps=by_mps,
        blocked=blocked_of(device.instances, grid) | refused if grid else _NOTHING,
        closed=bool(device.barred),
        barred=device.barred,
        lent=_units([one for one in device.instances if one.barred]) if grid else _NOTHING,
    )


def _grid(device: Device) -> MigGrid | None:
    model = gpus.by_key(device.key) if device.key else None
    return model.grid if model else None


def blocked_of(seen: Sequence[MigDevice], grid: MigGrid) -> frozenset[int]:
    """The memory units of instances that are not the portal's to give: cut further by hand, or unheard of."""
    return _units([one for one in seen if one.profile is None or grid.named(one.profile) is None])


def _units(seen: Sequence[MigDevice]) -> frozenset[int]:
    placed = ((one.start, one.size or 0) for one in seen if one.start is not None)
    return frozenset(unit for start, size in placed for unit in range(start, start + size))


def instances_of(seen: Sequence[MigDevice], grid: MigGrid) -> tuple[MigInstance, ...]:
    """The instances that can be given. Where the driver hides the places, any that fit together stand for them:
    who may not see places cuts nothing there either, so they only tell the instances apart.
    """
    known = [(one, grid.named(one.profile)) for one in seen if one.profile is not None]
    named = [(one, profile) for one, profile in known if profile is not None]
    placed = [(one, profile) for one, profile in named if one.start is not None]
    hidden = sorted(
        ((one, profile) for one, profile in named if one.start is None), key=lambda pair: pair[0].number or 0
    )
    units = {unit for one, profile in placed for unit in profile.units(one.start or 0)}
    starts = _arrange([profile for _, profile in hidden], frozenset(units) | blocked_of(seen, grid))
    found = [MigInstance(profile.name, one.start or 0, one.uuid) for one, profile in placed]
    if starts is not None:
        found += [
            MigInstance(profile.name, start, one.uuid)
            for (one, profile), start in zip(hidden, starts, strict=True)
        ]
    return tuple(found)


def _arrange(profiles: Sequence[MigProfile], taken: frozenset[int]) -> list[int] | None:
    """Legal starts of these profiles beside what is taken, in order; None if there are none."""
    if not profiles:
        return []
    for start in profiles[0].starts:
        units = frozenset(profiles[0].units(start))
        if units.isdisjoint(taken):
            rest = _arrange(profiles[1:], taken | units)
            if rest is not None:
                return [start, *rest]
    return None
