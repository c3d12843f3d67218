"""One node on the board: who holds what of it, and what it can offer to a request."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import count as counter
from typing import NamedTuple

from dure_hub.catalogue.machine import OUTSIDE, Gpu, Machine
from dure_hub.policies.packing import ROUNDING, Ask, Cell, Demand, Kind, Kinds, Option
from dure_hub.policies.slices import WHOLE, Slice

ANY_TEAM = object()
"""In place of a team: shares may lie beside any team's."""
NOTHING: frozenset[str] = frozenset()


class Request:
    """What placement needs to know of a request; requests with the same answers are one object."""

    def __init__(self, ask: Ask, cores: float, memory_mb: int, pool: str, team: object) -> None:
        self.ask, self.cores, self.memory_mb, self.pool, self.team = ask, cores, memory_mb, pool, team
        self._options: dict[Cell, tuple[Option, ...]] = {}
        self._parts: dict[Cell, int] = {}

    def options(self, cell: Cell) -> tuple[Option, ...]:
        """Every way to serve it from a GPU in this state."""
        found = self._options.get(cell)
        if found is None:
            found = cell.kind.options(cell, self.ask) if cell.kind.matches(self.ask) else ()
            self._options[cell] = found
        return found

    def parts(self, cell: Cell) -> int:
        """How many such slices (or whole GPUs: 1) a GPU in this state still has."""
        found = self._parts.get(cell)
        if found is None:
            found = cell.kind.count(cell, self.ask) if cell.kind.matches(self.ask) else 0
            self._parts[cell] = found
        return found


class Offer(NamedTuple):
    """The best of one node; less is better, in this order.

    `growth` is by how much the unusable part of what is free grows (thousandths of a GPU, expected over the
    demand). Then best fit: what is left free on the GPU, on the node, and of its cores. `serial` settles what is
    left, in favour of nothing. `cell` and `start` say how, where a GPU is asked for.
    """

    growth: float
    left_on_gpu: int
    left_on_node: int
    cores_left: float
    node: int
    serial: int
    cell: Cell | None = None
    start: int | None = None


class Device:
    """One GPU, its holders, and the cell they bring it to."""

    __slots__ = ("cell", "gpu", "holders", "kind")

    def __init__(self, gpu: Gpu, kind: Kind) -> None:
        self.gpu = gpu
        self.kind = kind
        self.holders: list[Slice] = []
        self.cell = kind.empty

    def welcomes(self, team: object) -> bool:
        """Whether a share of this team may lie beside those that are here."""
        return team is ANY_TEAM or all(piece.team == team for piece in self.holders)

    def as_it_lies(self, piece: Slice) -> Slice:
        """This slice at the place where its instance is seen now: where a driver hides the places, each look only
        guesses them, and what was written down at the grant may be another's by now.
        """
        if piece.visible is None:
            return piece
        found = next((one for one in self.gpu.instances if one.uuid == piece.visible), None)
        if found is None or (found.profile, found.start) == (piece.mig, piece.start):
            return piece
        return replace(piece, mig=found.profile, start=found.start)


class Node:
    """The state of one node."""

    _serials = counter()

    def __init__(self, index: int, machine: Machine, kinds: Kinds) -> None:
        self.index = index
        self.machine = machine
        self.cores = machine.cores - machine.held_cores
        self.memory_mb = machine.memory_mb - machine.held_memory_mb
        self._pods = None if machine.pods is None else machine.pods - machine.held_pods
        self.devices = {gpu.uuid: Device(gpu, kinds.of(gpu)) for gpu in machine.gpus}
        self._others: list[Slice] = []
        self._usable: float | None = None
        self._kept = machine.cores_per_gpu, machine.memory_mb_per_gpu
        whole = machine.cores, machine.memory_mb, machine.pods
        self.shape = (*self._kept, *whole, *(id(one.kind) for one in self.devices.values()))
        self._refresh()

    def take(self, piece: Slice) -> None:
        """Count this slice as held."""
        device = self.devices.get(piece.device)
        holders = self._others if device is None else device.holders
        holders.append(piece if device is None else device.as_it_lies(piece))
        self._count(device, -1, -piece.cpu_cores, -piece.memory_mb)

    def give_back(self, piece: Slice) -> None:
        """Count this slice as free; raises `ValueError` if it is not held."""
        device = self.devices.get(piece.device)
        holders = self._others if device is None else device.holders
        holders.remove(piece if device is None else device.as_it_lies(piece))
        self._count(device, 1, piece.cpu_cores, piece.memory_mb)

    def offer(self, demand: Demand, request: Request, avoid: Set[str] = NOTHING) -> Offer | None:
        """The best this node can do, without the GPUs to avoid; None if nothing."""
        if not self.has_room(request):
            return None
        cores = self.cores - request.cores
        mask = demand.mask(cores, self.memory_mb - request.memory_mb)
        if not request.ask.gpu:
            growth = self._usable_now(demand) - self._usable_by(demand, mask) if self.cells else 0.0
            return Offer(round(growth, 6), 0, self.free, cores, self.index, next(self._serials))
        if request.ask.gpus > 1:
            return self._offer_several(demand, request, mask, avoid)
        base = self._usable_now(demand) - self._usable_by(demand, mask)
        best: tuple[float, int, int, Cell, int | None] | None = None
        for cell in self._cells_for(request, avoid):
            now = demand.of(cell, mask)
            for start, after in request.options(cell):
                lost = base + now - demand.of(after, mask)
                if demand.has_joint and cell is cell.kind.empty:
                    lost += demand.joint(self.whole, mask) - demand.joint(self._whole_less(cell.kind, 1), mask)
                taken = cell.free - after.free
                found = (round(lost - taken, 6), after.free, self.free - taken, cell, start)
                if best is None or found[:3] < best[:3]:
                    best = found
        if best is None:
            return None
        return Offer(*best[:3], cores, self.index, next(self._serials), *best[3:])

    def state(self, request: Request) -> tuple[object, ...]:
        """All that its offer depends on."""
        if request.ask.share and request.team is not ANY_TEAM:
            welcome = (one.cell if one.welcomes(request.team) else None for one in self.devices.values())
            return (self.cores, self.memory_mb, self._takes(request), *self.cells, *welcome)
        kept = *self._kept, self._shut
        return (self.cores, self.memory_mb, self._takes(request), *kept, *self.cells)

    def parts(self, request: Request, *, of_any_team: bool = False) -> int:
        """How many GPUs (where whole ones are asked for) or slices are free for this, cores and memory aside."""
        parts = request.parts
        if of_any_team or not request.ask.share or request.team is ANY_TEAM:
            return sum(map(parts, self.cells))
        return sum(parts(one.cell) for one in self.devices.values() if one.welcomes(request.team))

    def holders(self, request: Request) -> int:
        """How many such requests find their GPUs here, cores and memory aside."""
        wanted = request.ask.gpus
        if wanted < 2:
            return self.parts(request)
        return sum(free // wanted for kind, free in self.whole.items() if request.parts(kind.empty))

    def room(self, ask: Ask) -> tuple[float, int]:
        """Cores and memory that such a request may use: those without a GPU leave the free GPUs their part. None
        of a node that takes nobody; less than none where more is held than it has."""
        if self.machine.closed:
            return 0.0, 0
        if ask.gpu or not self.devices:
            return self.cores, self.memory_mb
        # of a GPU that is held in part, the part that is free keeps its part; so does one that is closed for now
        free = self.free + self._shut
        return self.cores - self._kept[0] * free / WHOLE, self.memory_mb + -self._kept[1] * free // WHOLE

    def pods(self, ask: Ask) -> int | None:
        """How many pods more such requests may make here; None where they are not counted. Each GPU of a holder
        counts as one, so that no request without a GPU takes the last from those with one."""
        if self._pods is None:
            return None
        return max(self._pods if ask.gpu else self._pods - self._kept_pods, 0)

    def _takes(self, request: Request) -> bool:
        """Whether its node takes one more pod."""
        pods = self.pods(request.ask)
        return not self.machine.closed and (pods is None or pods >= max(request.ask.gpus, 1))

    def has_room(self, request: Request) -> bool:
        """Whether cores and memory suffice, and it takes one more."""
        cores, memory_mb = self.room(request.ask)
        return cores + ROUNDING >= request.cores and memory_mb >= request.memory_mb and self._takes(request)

    def count(self, request: Request) -> int:
        """How many such requests fit beside what is held."""
        if not self._takes(request):
            return 0
        cores, memory_mb = self.room(request.ask)
        limits = [memory_mb // request.memory_mb] if request.memory_mb else []
        pods = self.pods(request.ask)
        if pods is not None:
            limits.append(pods // max(request.ask.gpus, 1))
        if request.cores:
            limits.append(int((cores + ROUNDING) / request.cores))
        if request.ask.gpu:
            limits.append(self.holders(request))
        return max(min(limits, default=0), 0)

    def choose(self, offer: Offer, request: Request, apart: Set[str]) -> list[Device]:
        """The GPUs of an offer: not the siblings' if that can be, near each other, and as they are cut already."""
        if offer.cell is None:
            return []
        fitting = [one for one in self.devices.values() if one.cell is offer.cell]
        if request.ask.share:
            fitting = [one for one in fitting if one.welcomes(request.team)]
        groups: dict[str, int] = {}
        for one in fitting:
            groups[one.gpu.group or one.gpu.uuid] = groups.get(one.gpu.group or one.gpu.uuid, 0) + 1
        wanted = max(request.ask.gpus, 1)

        def last(device: Device) -> tuple[bool, bool, bool, int]:
            near = groups[device.gpu.group or device.gpu.uuid]
            # the smallest group that holds all of them, else as few groups as can be
            return (
                device.gpu.uuid in apart,
                not _is_cut(device.gpu, request.ask.mig, offer.start),
                near < wanted,
                near if near >= wanted else -near,
            )

        fitting.sort(key=lambda one: (last(one), one.gpu.group))
        return fitting[:wanted]

    def _cells_for(self, request: Request, avoid: Set[str]) -> Sequence[Cell]:
        """The different states in which GPUs are that this request could get."""
        if not avoid and not request.ask.share:
            return self.distinct
        found = dict.fromkeys(
            one.cell
            for uuid, one in self.devices.items()
            if uuid not in avoid and (not request.ask.share or one.welcomes(request.team))
        )
        return list(found)

    def _offer_several(self, demand: Demand, request: Request, mask: int, avoid: Set[str]) -> Offer | None:
        wanted = request.ask.gpus
        base = self._usable_now(demand) - self._usable_by(demand, mask)
        offers: list[Offer] = []
        for kind in self.whole:
            free = [uuid for uuid, one in self.devices.items() if one.cell is kind.empty and uuid not in avoid]
            if len(free) < wanted or not request.options(kind.empty):
                continue
            after = request.options(kind.empty)[0][1]
            lost = base + wanted * (demand.of(kind.empty, mask) - demand.of(after, mask))
            lost += demand.joint(self.whole, mask) - demand.joint(self._whole_less(kind, wanted), mask)
            taken = wanted * WHOLE
            left, cores = self.free - taken, self.cores - request.cores
            offers.append(
                Offer(round(lost - taken, 6), 0, left, cores, self.index, next(self._serials), kind.empty)
            )
        return min(offers, default=None, key=lambda offer: offer[:6])

    def _usable_now(self, demand: Demand) -> float:
        if self._usable is None:
            self._usable = self._usable_by(demand, demand.mask(self.cores, self.memory_mb))
        return self._usable

    def _usable_by(self, demand: Demand, mask: int) -> float:
        usable = demand.usable(self.cells, mask)
        return usable + demand.joint(self.whole, mask) if demand.has_joint else usable

    def _whole_less(self, kind: Kind, number: int) -> dict[Kind, int]:
        return {**self.whole, kind: self.whole[kind] - number}

    def _count(self, device: Device | None, pods: int, cores: float, memory_mb: int) -> None:
        if self._pods is not None:
            self._pods += pods
        self.cores += cores
        self.memory_mb += memory_mb
        self._usable = None
        if device is not None:
            device.cell = device.kind.held(device.holders) if device.holders else device.kind.empty
            self._refresh()

    def _refresh(self) -> None:
        """What follows from the states of the GPUs."""
        self.cells = [device.cell for device in self.devices.values()]
        self.distinct = tuple(dict.fromkeys(self.cells))
        self.free = sum(cell.free for cell in self.cells)
        # who holds one from outside has taken its part already
        shut = (one for one in self.devices.values() if one.gpu.closed and one.gpu.barred != OUTSIDE)
        self._shut = WHOLE * sum(not one.holders for one in shut)
        self._kept_pods = 0 if self._pods is None else sum(map(_places_left, self.devices.values()))
        self.whole: dict[Kind, int] = {}
        for cell in self.cells:
            if cell is cell.kind.empty:
                self.whole[cell.kind] = self.whole.get(cell.kind, 0) + 1
        self._usable = None


def _places_left(device: Device) -> int:
    """How many holders more it has room for."""
    gpu = device.gpu
    if gpu.barred == OUTSIDE:
        return 0
    return max((len(gpu.instances) if gpu.grid is not None else gpu.replicas or 1) - len(device.holders), 0)


def _is_cut(gpu: Gpu, mig: str | None, start: int | None) -> bool:
    """Whether this instance exists already (always where none is asked for)."""
    return mig is None or any((one.profile, one.start) == (mig, start) for one in gpu.instances)
