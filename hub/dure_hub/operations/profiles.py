"""What people can pick now: the catalogue's profiles for this machine, with what is free of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import Text
from dure.wire.containers import means_container
from dure.wire.organisation import ProfilesFile
from dure_hub.backends.base import Feature, Inventory, InventoryBackend
from dure_hub.catalogue import profilefile
from dure_hub.catalogue import profiles as catalogue
from dure_hub.catalogue.machine import Machine, closing, opened
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.catalogue.rates import GIVEN, RateCard
from dure_hub.operations import closures
from dure_hub.operations.barred import Barred, KindKey, barred, kind_for, kind_of
from dure_hub.operations.errors import NoSuchProfile, ProfileNotForYou, ProfileNotHere
from dure_hub.operations.live_profiles import LiveProfiles
from dure_hub.operations.machines import Units, machines_of
from dure_hub.operations.people import Person
from dure_hub.operations.rates import RateCards
from dure_hub.operations.refusals import Refusals
from dure_hub.operations.remembered import lost, with_lost
from dure_hub.policies import placement
from dure_hub.policies.board import Board
from dure_hub.policies.classes import POOLS
from dure_hub.policies.devices import CORDON, DRAIN, FAULT, OUTSIDE
from dure_hub.policies.placement import Capacity
from dure_hub.policies.slices import Slice, Wish
from dure_hub.policies.verdict import Verdict
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Closure, Lease, Ticket

_FRESH = timedelta(seconds=10)


@dataclass(frozen=True)
class Rules:
    """What the settings say about sharing: see there."""

    borrowing: bool = True
    share_across_teams: bool = False
    min_run_s: int = 1800
    notice_s: float = 30
    timeout_s: int = 24 * 3600
    longest_work_s: int = 24 * 3600
    """Of what is no server: a job, an execution."""
    one_home_node: bool = False
    """A person's servers must be on one node, since their home can be used on one at a time."""


@dataclass(frozen=True)
class Fleet:
    """Everything a decision about slices needs to know of the place: profiles by name, the nodes, the rules.

    `instances` are the UUIDs of all MIG instances that there are. Of GPUs that are `closed` nothing is granted,
    but they are part of what ever fits. While `full` is set, nothing starts: it is why. While all of it is `away`,
    this is how it was, and nothing is granted.
    """

    profiles: Mapping[str, ProfileSpec]
    machines: tuple[Machine, ...]
    rules: Rules = Rules()
    instances: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    full: Verdict | None = None
    away: bool = False
    _whole: Fleet | None = None
    _closings: dict[frozenset[str], Fleet] = field(default_factory=dict, compare=False, repr=False)
    made: Mapping[str, ProfileSpec] = field(default_factory=dict)
    """The profiles as the machine and the settings alone make them."""
    lacks: Mapping[Feature, Text] = field(default_factory=dict)
    """What servers cannot have here, each with its sentence."""
    homes: dict[str, frozenset[str] | None] = field(default_factory=dict, compare=False, repr=False)
    """The nodes where somebody's home can be used (None: all), of whoever waits or has asked since the look."""

    @cached_property
    def capacity(self) -> Capacity:
        """What ever finds room here. It is reckoned once for each look at the place."""
        return Capacity(self.whole) if self._whole is None else self._whole.capacity

    @cached_property
    def whole(self) -> tuple[Machine, ...]:
        """The nodes as they are once nothing is closed, or held from outside."""
        return tuple(map(opened, self.machines)) if self._whole is None else self._whole.whole

    @cached_property
    def barred(self) -> Barred:
        """What is given to nobody for now, and why."""
        return barred(self.machines)

    def closing(self, closed: frozenset[str]) -> Fleet:
        """The same with exactly these GPUs closed; for the same GPUs the same object."""
        if closed == self.closed:
            return self
        base = self._whole or self
        if not closed:
            return base
        known = base._closings.get(closed)
        if known is None:
            base._closings.clear()  # who comes later decides by what is closed then
            nodes = tuple(closing(node, closed) for node in base.machines)
            known = replace(base, machines=nodes, closed=closed, _whole=base, _closings={})
            base._closings[closed] = known
        return known

    def profile(self, name: str) -> ProfileSpec:
        """One profile; raises `NoSuchProfile`."""
        if name not in self.profiles:
            raise NoSuchProfile(profile=name, offered=", ".join(self.open_to_all))
        return self.profiles[name]

    @cached_property
    def kinds(self) -> Counter[KindKey]:
        """How many GPUs there are of each kind."""
        return Counter(kind_of(gpu) for node in self.machines for gpu in node.gpus)

    def groups_of(self, name: str) -> frozenset[str]:
        """Whom the profile is for; nobody in particular where it is everybody's, or away."""
        return frozenset(self.profiles[name].groups) if name in self.profiles else frozenset()

    @cached_property
    def open_to_all(self) -> Mapping[str, ProfileSpec]:
        """Those that anybody may pick: what may be named to whoever asks."""
        return {name: spec for name, spec in self.profiles.items() if not spec.groups}

    def named(self, asked: str) -> Mapping[str, ProfileSpec]:
        """What may be named beside the one that was asked for: its own holders know of that."""
        own = {asked: self.profiles[asked]} if asked in self.profiles else {}
        return {**self.open_to_all, **own}

    def picked(self, name: str, person: Person) -> ProfileSpec:
        """One profile that this person picks. Raises `NoSuchProfile`, `ProfileNotForYou`, `ProfileNotHere`."""
        spec = self.profile(name)
        if not is_for(spec, person):
            raise ProfileNotForYou(profile=name, groups=", ".join(sorted(spec.groups)))
        self.need_here(spec)
        return spec

    def need_here(self, spec: ProfileSpec) -> None:
        """Raise `ProfileNotHere` where a server of it would lack what the profile says it has."""
        contained = spec.image is not None and means_container(spec.image)
        for feature, asked in ((Feature.VOLUMES, spec.volumes), (Feature.CONTAINER_IMAGES, contained)):
            if asked and feature in self.lacks:
                raise ProfileNotHere(profile=spec.name, why=self.lacks[feature])


def is_for(spec: ProfileSpec, person: Person) -> bool:
    """Whether the person may pick it: a team of theirs, or everybody, may; administrators may pick any."""
    return person.admin or not spec.groups or not spec.groups.isdisjoint(person.teams)


def may_name_any(spec: ProfileSpec, teams: Collection[str]) -> bool:
    """Whether members of these teams may name any container image for a server of it; nobody else may, not even
    administrators: they may put themselves into such a team."""
    return not spec.any_image_groups.isdisjoint(teams)


def fleet_of(
    inventory: Inventory,
    settings: Settings,
    rates: RateCard = GIVEN,
    at: datetime | None = None,
    refused: Units | None = None,
    file: ProfilesFile | None = None,
) -> Fleet:
    """The fleet that an inventory makes under these settings, priced as of `at`; without it prices are unknown.

    The memory units of GPUs that are `refused` are given to nobody. `file` is what profiles.yaml says.
    """
    file = file or ProfilesFile()
    settings, pools = profilefile.settled(settings, file.devices), file.devices.pools
    machines = tuple(
        replace(one, pool=pools.get(one.name, one.pool)) for one in machines_of(inventory, settings, refused)
    )
    there = frozenset(one.uuid for device in inventory.devices for one in device.instances if one.uuid)
    rules = Rules(
        settings.team_borrowing,
        settings.share_across_teams,
        settings.reclaim_after_s,
        settings.job_grace_s,
        settings.ticket_timeout_s,
        settings.max_lifetime_s,
        settings.on_cluster and bool(settings.home_size_gb) and settings.home_access == "ReadWriteOnce",
    )
    made = catalogue.profiles(machines, settings, rates, at)
    return Fleet(profilefile.edited(made, file.profiles), machines, rules, there, away=inventory.away, made=made)


def _waiting(session: Session) -> Sequence[str]:
    """Who waits for a server."""
    query = select(Ticket.owner).where(Ticket.state == "waiting", Ticket.purpose == "notebook").distinct()
    return session.scalars(query).all()


def active_slices(session: Session) -> list[Slice]:
    """The slices of every lease that has not ended."""
    query = select(Lease).where(Lease.ended_at.is_(None), Lease.parent.is_(None))
    rows: Sequence[Lease] = session.scalars(query).all()
    return [piece for row in rows for piece in slices_of(row)]


def slices_of(lease: Lease) -> tuple[Slice, ...]:
    """What a lease holds, with whose it is."""
    return tuple(Slice.from_json(piece, lease.team or lease.owner) for piece in lease.slices)


class Profiles:
    """The profile provider."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self._rates = RateCards(settings.folder.rates)
        self._file = LiveProfiles(settings.folder)
        self._refusals = Refusals(settings, clock)
        self._known: tuple[datetime, object, Fleet] | None = None
        self._changes = 0
        self._looking = asyncio.Lock()
        self.full: Callable[[], Awaitable[Verdict | None]] = _room
        """Why nothing may start now; the disk's own, once there is one."""
        self.lacks: Mapping[Feature, Text] = {}
        """What servers cannot have here; their backend's own, once there is one."""

    async def fleet(self, *owners: str) -> Fleet:
        """The fleet as it was at most ten seconds ago, with where homes of who waits, and of these people, are."""
        async with self._looking:
            # before the look: what is said to have changed during it makes it an old one
            now, begun = self._clock(), (self._changes, self._refusals.mark())
            known = self._known
            if known is None or known[1] != begun or not timedelta(0) <= now - known[0] < _FRESH:
                seen, card, file = await asyncio.gather(
                    self._inventory.look(),
                    asyncio.to_thread(self._rates.card),
                    asyncio.to_thread(self._file.current),
                )
                seen = with_lost(seen, await self._store.read(lost))
                refused = await asyncio.to_thread(self._refusals.units, seen.devices)
                made = replace(fleet_of(seen, self._settings, card, now, refused, file), lacks=self.lacks)
                await self._learn_homes(made, await self._store.read(_waiting))
                known = self._known = now, begun, made
        await self._learn_homes(known[2], owners)
        full = await self.full()
        return known[2] if full is None else replace(known[2], full=full, _closings={})

    async def for_queue(self) -> Fleet:
        """The same with where homes are of everybody who waits now, also of who asked another process."""
        return await self.fleet(*await self._store.read(_waiting))

    async def _learn_homes(self, fleet: Fleet, owners: Iterable[str]) -> None:
        unknown = set(owners) - fleet.homes.keys()
        fleet.homes.update({**dict.fromkeys(unknown), **await self._inventory.homes(unknown)})

    def forget(self) -> None:
        """A GPU was cut anew: who asks next gets a look that was begun after this."""
        self._changes += 1

    async def list(self, person: Person, purpose: str | None = None) -> Sequence[wire.Profile]:
        """Every profile that the person may pick with its free and total count; for a purpose, as far as nodes are
        for that."""
        fleet = await self.fleet()
        wish = Wish(pool=POOLS.get(purpose or "", ""), share_across_teams=True)
        slices, rows = await self._store.read(
            lambda session: (active_slices(session), closures.by_device(session))
        )
        held, empty = Board(fleet.closing(frozenset(rows)).machines, slices), Board(fleet.whole)
        found = [one for one in fleet.profiles.values() if is_for(one, person)]
        may = person.teams if Feature.CONTAINER_IMAGES not in fleet.lacks else frozenset()
        listed = [_on_wire(one, held.count(one, wish), empty.count(one, wish), may) for one in found]
        shut = shut_by_kind(fleet, rows)
        return [told_closed(one, fleet, shut) for one in listed]

    async def get(self, name: str) -> wire.Profile:
        """One profile; raises `NoSuchProfile`."""
        fleet = await self.fleet()
        return await self._store.read(lambda session: on_wire(fleet.profile(name), fleet, session))


def on_wire(profile: ProfileSpec, fleet: Fleet, session: Session) -> wire.Profile:
    """A profile as people see it, with what is free of it beside what is held."""
    rows = closures.by_device(session)
    nodes = fleet.closing(frozenset(rows)).machines
    free, total = (
        placement.count(profile, nodes, active_slices(session)),
        placement.count(profile, fleet.whole, ()),
    )
    return told_closed(_on_wire(profile, free, total), fleet, shut_by_kind(fleet, rows))


def shut_by_kind(fleet: Fleet, rows: Mapping[str, Sequence[Closure]]) -> dict[KindKey, list[Closure]]:
    """Of each kind of GPU what rows close some of them; kinds of which they close none are left out."""
    found: dict[KindKey, list[Closure]] = {}
    for gpu in (gpu for node in fleet.machines for gpu in node.gpus) if rows else ():
        if gpu.uuid in rows:
            found.setdefault(kind_of(gpu), []).extend(rows[gpu.uuid])
    return found


def told_closed(profile: wire.Profile, fleet: Fleet, shut: Mapping[KindKey, list[Closure]]) -> wire.Profile:
    """A profile with how many GPUs of its kind are closed, and what an administrator says of them."""
    kind = kind_for(fleet.profiles[profile.name])
    rows, by_place = shut.get(kind, []), fleet.barred.gpus.get(kind, {})
    if profile.gpu_model is None or not (rows or by_place):
        return profile
    whys = {**by_place, **_why_shut(rows)}
    dates = [row.until for row in rows if row.until is not None and row.code == "cordon"]
    told = {
        "closed": len(whys),
        "closed_of": fleet.kinds[kind],
        "closed_kinds": dict(Counter(whys.values())),
        "closed_until": min(dates, default=None),
        "closed_message": next((row.message for row in rows if row.message), None),
    }
    return profile.model_copy(update=told)


def _why_shut(rows: Iterable[Closure]) -> dict[str, str]:
    """By GPU what people are told: a fault before what is done about it, and use from outside last."""
    ranks = {OUTSIDE: 0, CORDON: 1, DRAIN: 1, FAULT: 2}
    worst: dict[str, int] = {}
    for row in rows:
        worst[row.device] = max(worst.get(row.device, 0), ranks[row.kind])
    return {device: ("outside", "maintenance", "fault")[rank] for device, rank in worst.items()}


def _on_wire(profile: ProfileSpec, free: int, total: int, teams: Collection[str] = frozenset()) -> wire.Profile:
    return wire.Profile(
        name=profile.name,
        title=dict(profile.title),
        description=dict(profile.description),
        cpu_cores=profile.cpu_cores,
        memory_mb=profile.memory_mb,
        gpus=profile.gpus,
        gpu_model=profile.gpu_model,
        gpu_memory_mb=profile.gpu_memory_mb,
        rate=profile.rate,
        default_lifetime_s=profile.default_lifetime_s,
        max_lifetime_s=profile.max_lifetime_s,
        mig=profile.mig,
        share=profile.share or None,
        enforced=profile.enforced,
        free=free,
        total=total,
        image=profile.image,
        any_image=may_name_any(profile, teams),
        volumes=[wire.ProfileVolume(**vars(one)) for one in profile.volumes],
        shm_mb=profile.shm_mb,
    )


async def _room() -> None:
    return None
