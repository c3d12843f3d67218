"""Which requests take room from each other on a fleet, and how much at most, wherever they are put.

It is a bound: beside one more holder of A, at most `hits(A, B)` fewer holders of B fit than did. Holders of `cpu`
and of GPUs are in nobody's way: each GPU's part of cores and memory is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.packing import Ask, Kind, Kinds, MigKind
from dure_hub.policies.slices import CPU, Slice, Wish

_ALONE = Wish()


class Contention:
    """The rivalries of the profiles on these nodes. Answers are kept: one object for one fleet."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        kinds = Kinds()
        self._devices = {gpu.uuid: kinds.of(gpu) for node in machines for gpu in node.gpus}
        self._kinds = list(kinds)
        self._known: dict[tuple[object, ...], int] = {}

    def hits(
        self, holder: ProfileSpec, asked: ProfileSpec, holder_wish: Wish = _ALONE, asked_wish: Wish = _ALONE
    ) -> int:
        """How many holders of `asked` fewer fit beside one of `holder`, at most; 0 where they are no rivals."""
        mixed = not asked_wish.share_across_teams and holder_wish.team != asked_wish.team
        own, other = Ask.of(holder), Ask.of(asked)
        room = (holder.cpu_cores, holder.memory_mb, asked.cpu_cores, asked.memory_mb)
        key = (own, other, mixed, *(room if not own.gpu else ()))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._hits(own, other, mixed, *room)
        return found

    def concerns(self, piece: Slice, asked: ProfileSpec) -> bool:
        """Whether there may be room for `asked` where this is given back; it may be wrong only in saying so."""
        ask = Ask.of(asked)
        kind = self._devices.get(piece.device)
        return not ask.gpu if piece.device == CPU else not ask.gpu or kind is None or kind.matches(ask)

    def _hits(
        self, own: Ask, other: Ask, mixed: bool, cores: float, memory_mb: int, less: float, less_mb: int
    ) -> int:
        if not own.gpu or not other.gpu:
            if own.gpu or other.gpu:
                return 0
            return max(_parts(cores, less), _parts(memory_mb, less_mb), 1)
        each = max((_on_one(kind, own, other, mixed) for kind in self._kinds), default=0)
        if own.gpus and other.gpus and each:
            # GPUs of one holder are on one node, where they leave room for so many fewer groups
            return _parts(own.gpus, other.gpus)
        return each * max(own.gpus, 1)


def _on_one(kind: Kind, own: Ask, other: Ask, mixed: bool) -> int:
    """The same on one GPU of this kind, for one GPU or part of one."""
    if not kind.matches(own) or not kind.matches(other):
        return 0
    if isinstance(kind, MigKind):
        return _on_mig(kind, own.mig or "", other.mig or "")
    if other.gpus:
        return 1
    every = kind.count(kind.empty, other)
    # a GPU that another team shares is as good as held whole
    return every if own.gpus or mixed else min(_parts(own.share, other.share), every)


def _on_mig(kind: MigKind, own: str, other: str) -> int:
    grid = kind.cuts.grid
    holder, asked = grid.named(own), grid.named(other)
    if holder is None or asked is None:
        return 0
    most = max(
        _disjoint(
            (
                start
                for start in kind.starts(kind.empty, other)
                if start < first + holder.size and first < start + asked.size
            ),
            asked.size,
        )
        for first in kind.starts(kind.empty, own)
    )
    # media engines and the like come so many times a GPU, wherever the instances lie
    return most + int(bool(asked.extra) and asked.extra == holder.extra and own != other)


def _disjoint(starts: Iterable[int], size: int) -> int:
    found, end = 0, -1
    for start in sorted(starts):
        if start >= end:
            found, end = found + 1, start + size
    return found


def _parts(amount: float, each: float) -> int:
    """How many of the others so much takes the room of, at most."""
    return max(int(-(-amount // each)), 1) if each else 1
