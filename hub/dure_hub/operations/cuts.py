"""How a GPU is cut, as administrators say: recorded, then done one by one, and asked again where it broke.

A lease that is granted meanwhile wins: what it holds is not removed, and what it holds and lost is made again
before anything starts under it (`carving`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from dure.errors import DureError
from dure.wire.gpu import GpuDevice, MigRequest
from dure_hub.backends.base import NO_MIG, Device, Feature, InventoryBackend
from dure_hub.catalogue import gpus as catalogue
from dure_hub.catalogue.machine import MigInstance
from dure_hub.catalogue.mig import MigGrid
from dure_hub.operations.carving import Carver
from dure_hub.operations.fleet import Fleets
from dure_hub.operations.gpu_errors import MigDoesNotFit, MigHeld, NoMigHere, NoSuchGpu, NoSuchMigProfile
from dure_hub.operations.gpus import Gpus, Part, holding
from dure_hub.operations.machines import blocked_of
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.policies import cutting
from dure_hub.policies.cutting import Cut, Held, NoRoom, Place, Wanted
from dure_hub.store import Clock, Store
from dure_hub.store.events import record

_NO_MODE = {"en": "This model has no MIG.", "ko": "MIG가 없는 모델입니다."}
_MIG_OFF = {
    "en": "MIG is off on it; the machine's administrator turns it on with `nvidia-smi -mig 1`.",
    "ko": "MIG가 꺼져 있습니다. 머신 관리자가 `nvidia-smi -mig 1`로 켤 수 있습니다.",
}
_UNKNOWN_MODEL = {
    "en": "It is not in the catalogue, so nobody here knows how it may be cut.",
    "ko": "카탈로그에 없는 GPU라서 나누는 방법을 알 수 없습니다.",
}
_WHOLE = {"en": "The whole", "ko": "전체"}


class Cuts:
    """Cuts GPUs for administrators."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        inventory: InventoryBackend,
        carver: Carver,
        profiles: Profiles,
        fleets: Fleets,
        gpus: Gpus,
    ) -> None:
        self._store, self._clock, self._inventory = store, clock, inventory
        self._carver, self._profiles, self._fleets, self._gpus = carver, profiles, fleets, gpus

    async def cut(self, person: Person, uuid: str, ask: MigRequest) -> GpuDevice:
        """Cut a GPU into exactly these MIG instances; those that are there already stay as they are.

        Asked again, it goes on where it broke. Raises `NoSuchGpu`, `NoMigHere`, `NoSuchMigProfile`,
        `MigDoesNotFit`, `MigHeld`, and the inventory's `MigRefused`.
        """
        person.need_admin()
        async with self._carver.cutting:
            device = await self._device(uuid)
            grid = self._grid(device)
            wanted = _wanted(ask.profiles, device, grid)
            planned = await self._store.run(lambda session: self._plan(session, person, device, grid, wanted))
            if planned.remove or planned.make:
                await self._do(person, device, grid, planned)
        self._fleets.forget()
        self._profiles.forget()
        return await self._gpus.get(person, uuid)

    async def _device(self, uuid: str) -> Device:
        found = {device.uuid: device for device in (await self._inventory.look()).devices}
        if uuid not in found:
            raise NoSuchGpu(device=uuid)
        return found[uuid]

    def _grid(self, device: Device) -> MigGrid:
        model = catalogue.by_key(device.key) if device.key else None
        why = None
        if device.mig_mode is None:
            why = _NO_MODE
        elif not device.mig_mode:
            why = _MIG_OFF
        elif model is None or model.grid is None:
            why = _UNKNOWN_MODEL
        elif not device.carves:
            why = dict(self._inventory.unsupported.get(Feature.MIG, NO_MIG))
        if why is not None or model is None or model.grid is None:
            raise NoMigHere(device=device.uuid, model=device.name, why=why)
        return model.grid

    def _plan(
        self, session: Session, person: Person, device: Device, grid: MigGrid, wanted: Sequence[Wanted]
    ) -> Cut:
        parts = [part for uuid, part in holding(session) if uuid == device.uuid]
        there = [(one.profile, one.start) for one in device.instances if one.profile and one.start is not None]
        held = _held(device, parts)
        found = cutting.cut(grid, wanted, there, list(held), blocked_of(device.instances, grid))
        if isinstance(found, Held):
            raise _refused(device, held[found.place], found.place)
        if isinstance(found, NoRoom):
            legal = ", ".join(map(str, found.profile.starts))
            taken = ", ".join([*map(_text, found.taken), *_foreign(device, grid)]) or "-"
            raise MigDoesNotFit(
                profile=found.profile.name, legal=legal, taken=taken, limit=found.profile.limit, device=device.uuid
            )
        if found.remove or found.make:
            facts = {
                "asked": [_text(place) for place in found.places],
                "remove": [_text(place) for place in found.remove],
                "make": [_text(place) for place in found.make],
            }
            self._record(session, person, device, "gpu.cut", {"code": "gpu_cut", "facts": facts})
        return found

    async def _held_now(self, device: Device) -> dict[Place, Part]:
        return _held(device, [part for uuid, part in await self._store.read(holding) if uuid == device.uuid])

    async def _do(self, person: Person, device: Device, grid: MigGrid, planned: Cut) -> None:
        uuids = {(one.profile, one.start): one.uuid for one in device.instances}
        try:
            for place in planned.remove:
                held = await self._held_now(device)
                if place in held:  # granted since
                    raise _refused(device, held[place], place)
                await self._inventory.remove(device.uuid, MigInstance(*place, uuids.get(place)))
            for place in planned.make:
                held = await self._held_now(device)
                over = next((one for one in held if one != place and grid.overlap(one, place)), None)
                if over is not None:  # granted since
                    raise _refused(device, held[over], over)
                await self._inventory.make(device.uuid, *place)
        except DureError as error:
            told = {"allowed": False, "code": error.code, "facts": error.to_wire()["error"]["facts"]}
            await self._store.run(lambda session: self._record(session, person, device, "gpu.cut_failed", told))
            self._fleets.forget()
            self._profiles.forget()
            raise
        done = {"code": "gpu_cut", "facts": {"places": [_text(place) for place in planned.places]}}
        await self._store.run(lambda session: self._record(session, person, device, "gpu.cut_done", done))

    def _record(
        self, session: Session, person: Person, device: Device, verb: str, verdict: Mapping[str, Any]
    ) -> None:
        record(session, self._clock, person.name, verb, f"gpu:{device.uuid}", verdict)


def _wanted(names: Sequence[str], device: Device, grid: MigGrid) -> list[Wanted]:
    """The list as it was asked for; every name is one of the grid's, and every start that is named a legal one."""
    found = []
    for text in names:
        name, start = cutting.parse(text)
        profile = grid.named(name)
        if profile is None:
            offered = ", ".join(one.name for one in grid.profiles)
            raise NoSuchMigProfile(model=device.name, profile=name, offered=offered)
        if start is not None and start not in profile.starts:
            legal = ", ".join(map(str, profile.starts))
            raise MigDoesNotFit(profile=text, legal=legal, taken="-", limit=profile.limit, device=device.uuid)
        found.append((name, start))
    return found


def _held(device: Device, parts: Sequence[Part]) -> dict[Place, Part]:
    """What is held of this GPU, by place. An instance is known by its UUID where it has been made."""
    places = {one.uuid: (one.profile, one.start) for one in device.instances if one.uuid}
    found: dict[Place, Part] = {}
    for part in parts:
        if part.mig is None:
            raise MigHeld(mig=_WHOLE, start=0, device=device.uuid, owner=part.owner, lease=part.lease)
        profile, start = places.get(part.visible or "", (part.mig, part.start))
        found[profile or part.mig, start or 0] = part
    return found


def _foreign(device: Device, grid: MigGrid) -> list[str]:
    """Where instances lie that somebody cut by hand, and that no profile's name says."""
    starts = {one.start for one in device.instances if one.start is not None and blocked_of([one], grid)}
    return [f"?@{start}" for start in sorted(starts)]


def _refused(device: Device, part: Part, place: Place) -> MigHeld:
    return MigHeld(mig=place[0], start=place[1], device=device.uuid, owner=part.owner, lease=part.lease)


def _text(place: Place) -> str:
    return f"{place[0]}@{place[1]}"
