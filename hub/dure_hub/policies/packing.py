"""How much of what is free a placement leaves useful: kinds of GPUs, their states, what the demand makes of them.

The measure is fragmentation after Weng et al., "Beware of Fragmentation" (USENIX ATC'23): of what is free, the
part that a request drawn from the demand could not use, as expectation over the demand. The placement that makes
it grow least is the best. Here it counts MIG by legal starts too, and all of it in thousandths of a GPU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dure_hub.catalogue.machine import Gpu, Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.mig import MigGraph, graph
from dure_hub.policies.slices import WHOLE, Slice

ROUNDING = 1e-6  # cores are sums of floats
State = tuple[int, Any]


class Ask(NamedTuple):
    """The GPU part of a profile. Without key and model, any GPU will do; all empty is no GPU at all."""

    gpus: int = 0
    mig: str | None = None
    share: int = 0
    sharing: str = ""
    key: str | None = None
    model: str | None = None

    @classmethod
    def of(cls, profile: ProfileSpec) -> Ask:
        """What this profile asks of a GPU."""
        return cls(profile.gpus, profile.mig, profile.share, profile.sharing, profile.gpu_key, profile.gpu_model)

    @property
    def gpu(self) -> bool:
        """Whether it asks for any part of a GPU."""
        return bool(self.gpus or self.mig or self.share)


class Cell:
    """One kind of GPU in one state; there is one object for each, so they are compared by identity.

    `free` is in thousandths, `worth` the demand's memory of it.
    """

    __slots__ = ("free", "kind", "state", "worth")

    def __init__(self, kind: Kind, state: State, free: int) -> None:
        self.kind = kind
        self.state = state
        self.free = free
        self.worth: dict[int, float] = {}


Option = tuple[int | None, Cell]
"""The start (MIG only), and the cell that the GPU is then in."""


class Kind(ABC):
    """GPUs that placement cannot tell apart but by who holds them."""

    def __init__(self, gpu: Gpu) -> None:
        self.key, self.model = gpu.key, gpu.model
        self._cells: dict[State, Cell] = {}
        self.empty = self._cell(self._empty())

    def matches(self, ask: Ask) -> bool:
        """Whether such a GPU could ever serve this."""
        if ask.key is not None and self.key is not None:
            return ask.key == self.key and self._serves(ask)
        return (ask.model is None or ask.model == self.model) and self._serves(ask)

    @abstractmethod
    def held(self, holders: Sequence[Slice]) -> Cell:
        """The cell of a GPU with these holders."""

    @abstractmethod
    def options(self, cell: Cell, ask: Ask) -> tuple[Option, ...]:
        """Every way to place one such holder (of several whole GPUs: one of them)."""

    @abstractmethod
    def usable(self, cell: Cell, ask: Ask) -> float:
        """How much of the GPU this demand can still use, in thousandths."""

    @abstractmethod
    def count(self, cell: Cell, ask: Ask) -> int:
        """How many such holders fit beside each other."""

    @abstractmethod
    def _serves(self, ask: Ask) -> bool: ...

    @abstractmethod
    def _empty(self) -> State: ...

    @abstractmethod
    def _free(self, state: State) -> int: ...

    def _cell(self, state: State) -> Cell:
        found = self._cells.get(state)
        if found is None:
            found = self._cells[state] = Cell(self, state, self._free(state))
        return found


class PlainKind(Kind):
    """GPUs without MIG: whole, or shared where the GPU says so. Its state: thousandths free, room for holders."""

    def __init__(self, gpu: Gpu) -> None:
        self._sharing, self._holders = sharing_of(gpu)
        super().__init__(gpu)

    def held(self, holders: Sequence[Slice]) -> Cell:
        # a MIG slice here is from before MIG mode was switched off: nobody knows what it still holds
        if any(piece.mig is not None or piece.share >= WHOLE for piece in holders):
            return self._cell((0, 0))
        free = WHOLE - sum(piece.share for piece in holders)
        return self._cell((max(free, 0), max(self._holders - len(holders), 0)))

    def options(self, cell: Cell, ask: Ask) -> tuple[Option, ...]:
        free, room = cell.state
        if ask.gpus:
            return ((None, self._cell((0, 0))),) if cell is self.empty else ()
        if room and 0 < ask.share <= free:
            return ((None, self._cell((free - ask.share, room - 1))),)
        return ()

    def usable(self, cell: Cell, ask: Ask) -> float:
        return cell.free if self.options(cell, ask) else 0

    def count(self, cell: Cell, ask: Ask) -> int:
        free, room = cell.state
        if ask.gpus:
            return int(cell is self.empty)
        return min(free // ask.share, room) if ask.share else 0

    def _serves(self, ask: Ask) -> bool:
        if ask.gpus:
            return True
        return bool(ask.share and self._holders) and ask.sharing in {"", self._sharing}

    def _empty(self) -> State:
        return WHOLE, self._holders

    def _free(self, state: State) -> int:
        return state[0]


class MigKind(Kind):
    """GPUs in MIG mode. Its state is the grid's; where instances cannot be made, only those that exist count."""

    def __init__(self, gpu: Gpu, cuts: MigGraph) -> None:
        self.cuts = cuts
        self._blocked = cuts.blocked(gpu.taken)
        # what is there to be had; None: whatever is legal
        self._made = None if gpu.dynamic else tuple((one.profile, one.start) for one in gpu.instances)
        super().__init__(gpu)

    def held(self, holders: Sequence[Slice]) -> Cell:
        if any(piece.mig is None for piece in holders):
            return self._cell(self.cuts.full)
        return self._cell(self.cuts.held(((piece.mig or "", piece.start) for piece in holders), self._blocked))

    def starts(self, cell: Cell, name: str) -> tuple[int, ...]:
        """The starts from which this MIG profile can be had now."""
        legal = self.cuts.starts(cell.state, name)
        return legal if self._made is None else tuple(start for start in legal if (name, start) in self._made)

    def options(self, cell: Cell, ask: Ask) -> tuple[Option, ...]:
        name = ask.mig
        if name is None:
            return ()
        after = self.cuts.after
        return tuple((start, self._cell(after(cell.state, name, start))) for start in self.starts(cell, name))

    def usable(self, cell: Cell, ask: Ask) -> float:
        """The part of all the placements of an empty GPU that is still open."""
        if ask.mig is None:
            return 0
        every = len(self.starts(self.empty, ask.mig))
        return WHOLE * len(self.starts(cell, ask.mig)) / every if every else 0

    def count(self, cell: Cell, ask: Ask) -> int:
        if ask.mig is None:
            return 0
        if self._made is not None:
            return len(self.starts(cell, ask.mig))
        return self.cuts.count(cell.state, ask.mig)

    def _serves(self, ask: Ask) -> bool:
        return ask.mig is not None and bool(self.starts(self.empty, ask.mig))

    def _empty(self) -> State:
        return self._blocked

    def _free(self, state: State) -> int:
        return WHOLE * self.cuts.free(state) // self.cuts.grid.units


class ClosedKind(Kind):
    """GPUs of which nobody is given anything now, whoever still holds a part. They have one state."""

    def held(self, holders: Sequence[Slice]) -> Cell:
        return self.empty

    def options(self, cell: Cell, ask: Ask) -> tuple[Option, ...]:
        return ()

    def usable(self, cell: Cell, ask: Ask) -> float:
        return 0

    def count(self, cell: Cell, ask: Ask) -> int:
        return 0

    def _serves(self, ask: Ask) -> bool:
        return False

    def _empty(self) -> State:
        return 0, None

    def _free(self, state: State) -> int:
        return 0


class Kinds:
    """The kinds of a fleet's GPUs."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Kind] = {}
        self._graphs: dict[int, MigGraph] = {}

    def of(self, gpu: Gpu) -> Kind:
        """The kind of this GPU."""
        if gpu.closed:
            # one for each that it would be else: where all are open, they are told apart
            mark = ("closed", self.of(replace(gpu, closed=False)))
            shut = self._known.get(mark)
            if shut is None:
                shut = self._known[mark] = ClosedKind(gpu)
            return shut
        if gpu.grid is None:
            key: tuple[object, ...] = (gpu.model, gpu.key, sharing_of(gpu))
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = PlainKind(gpu)
            return found
        made = None if gpu.dynamic else tuple((one.profile, one.start) for one in gpu.instances)
        key = (gpu.model, gpu.key, id(gpu.grid), made, gpu.taken)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = MigKind(gpu, graph(gpu.grid))
        return found

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._known.values())


class Demand:
    """What is asked for of GPUs, as a distribution. Requests without a GPU use none of them, and do not matter."""

    def __init__(self, wanted: Iterable[tuple[ProfileSpec, float]]) -> None:
        weights: dict[tuple[Ask, float, int], float] = {}
        for profile, weight in wanted:
            key = (Ask.of(profile), profile.cpu_cores, profile.memory_mb)
            if key[0].gpu and weight > 0:
                weights[key] = weights.get(key, 0) + weight
        total = sum(weights.values())
        self._single = [
            (1 << n, ask, w / total) for n, ((ask, _, _), w) in enumerate(weights.items()) if ask.gpus < 2
        ]
        self._joint = [
            (1 << n, ask, w / total) for n, ((ask, _, _), w) in enumerate(weights.items()) if ask.gpus > 1
        ]
        self._cores = _Mask((cores, 1 << n) for n, (_, cores, _) in enumerate(weights))
        self._memory = _Mask((memory, 1 << n) for n, (_, _, memory) in enumerate(weights))

    def mask(self, cores: float, memory_mb: int) -> int:
        """Which of the requests find enough cores and memory in this, as bits."""
        return self._cores.of(cores + ROUNDING) & self._memory.of(memory_mb)

    def usable(self, cells: Sequence[Cell], mask: int) -> float:
        """How much of these GPUs a request of the demand can use, as expectation, in thousandths.

        Without those who ask for several: see `joint`.
        """
        total = 0.0
        for cell in cells:
            worth = cell.worth.get(mask)
            total += self.of(cell, mask) if worth is None else worth
        return total

    def of(self, cell: Cell, mask: int) -> float:
        """The same of one GPU, without those who ask for several."""
        worth = cell.worth.get(mask)
        if worth is None:
            kind = cell.kind
            worth = cell.worth[mask] = sum(
                weight * kind.usable(cell, ask)
                for bit, ask, weight in self._single
                if mask & bit and kind.matches(ask)
            )
        return worth

    def joint(self, whole: Mapping[Kind, int], mask: int) -> float:
        """The part of those who ask for several whole GPUs of a node that has so many of each kind free."""
        total = 0.0
        for kind, free in whole.items():
            for bit, ask, weight in self._joint:
                if mask & bit and free >= ask.gpus and kind.matches(ask):
                    total += weight * WHOLE * free
        return total

    @property
    def has_joint(self) -> bool:
        """Whether anybody asks for several GPUs at once."""
        return bool(self._joint)


class _Mask:
    """Bits by threshold: those whose own is not above the value."""

    def __init__(self, pairs: Iterable[tuple[float, int]]) -> None:
        self._at: list[float] = []
        self._bits = [0]
        for threshold, bit in sorted(pairs):
            self._at.append(threshold)
            self._bits.append(self._bits[-1] | bit)

    def of(self, value: float) -> int:
        return self._bits[bisect_right(self._at, value)]


def sharing_of(gpu: Gpu) -> tuple[str, int]:
    """How holders share this GPU, and how many may; ("", 0) where they do not."""
    if not gpu.replicas:
        return "", 0
    return "mps" if gpu.mps else "time-slice", gpu.replicas


def usual(machines: Sequence[Machine]) -> list[tuple[ProfileSpec, float]]:
    """The demand where nobody has said what is asked for: each way to have a part of each GPU model, alike."""
    seen: set[tuple[object, ...]] = set()
    asks: list[Ask] = []
    for node in machines:
        for gpu in node.gpus:
            sharing, holders = sharing_of(gpu)
            mark = (gpu.model, gpu.key, id(gpu.grid), holders)
            if mark in seen:
                continue
            seen.add(mark)
            if gpu.grid is not None:
                asks += [Ask(mig=one.name, key=gpu.key, model=gpu.model) for one in gpu.grid.profiles]
                continue
            asks.append(Ask(gpus=1, key=gpu.key, model=gpu.model))
            if holders:
                asks.append(Ask(share=WHOLE // holders, sharing=sharing, key=gpu.key, model=gpu.model))
    return [(_bare(ask), 1.0) for ask in dict.fromkeys(asks)]


def _bare(ask: Ask) -> ProfileSpec:
    return ProfileSpec(
        "", {}, {}, 0, 0, 0, 0, ask.gpus, ask.model, None, None, ask.key, ask.mig, ask.share, ask.sharing
    )
