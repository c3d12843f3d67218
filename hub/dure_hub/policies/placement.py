"""Where a demand fits, as single questions: each looks at the whole fleet once. For many, keep a `Board`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.slices import CPU, Placement, Slice, Wish
from dure_hub.policies.verdict import Verdict

__all__ = ["CPU", "Capacity", "Placement", "Slice", "Wish", "count", "next_best", "place", "ranks"]

_NO_WISH = Wish()


class Capacity:
    """What finds room on these nodes while nobody holds anything: what waiting may help at all.

    Answers are kept: one object for one fleet. For several threads at once.
    """

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self._board: Board | None = None
        self._known: dict[tuple[str, str, frozenset[str] | None], bool] = {}
        self._asking = Lock()

    def fits(self, profile: ProfileSpec, pool: str = "", nodes: frozenset[str] | None = None) -> bool:
        """Whether one holder of the profile ever fits on nodes for this pool ("": on any), of `nodes` alone."""
        key = (profile.name, pool, nodes)
        with self._asking:
            if key not in self._known:
                self._board = self._board or Board(self._machines)
                self._known[key] = self._board.place(profile, Wish(pool=pool, nodes=nodes)).verdict.allowed
            return self._known[key]


def place(
    profile: ProfileSpec, machines: Sequence[Machine], held: Iterable[Slice], wish: Wish = _NO_WISH
) -> Placement:
    """Place one holder of `profile` beside what is held; the verdicts are those of `Board.place`."""
    return Board(machines, held).place(profile, wish)


def count(profile: ProfileSpec, machines: Sequence[Machine], held: Iterable[Slice]) -> int:
    """How many holders of `profile` fit beside what is held."""
    return Board(machines, held).count(profile)


def next_best(
    asked: str,
    profiles: Mapping[str, ProfileSpec],
    machines: Sequence[Machine],
    held: Iterable[Slice],
    wish: Wish = _NO_WISH,
) -> str | None:
    """A profile that is free now instead of `asked`: the one nearest in GPUs, then in GPU memory. None if none."""
    return Board(machines, held).next_best(asked, profiles, wish)


def ranks(profile: ProfileSpec, processes: int, profiles: Mapping[str, ProfileSpec]) -> Verdict:
    """Whether a job of so many processes can run on this profile.

    MIG instances and shares have no way to each other (no NVLink, no PCIe peers), and NCCL wants a GPU a rank:
    several ranks there are refused with `ranks_on_slice`, naming in `instead` the smallest profile of whole GPUs
    for them (the largest there is, if none has as many; None if none is offered).
    """
    facts = {"profile": profile.name, "processes": processes}
    if processes <= 1 or profile.gpus or not (profile.mig or profile.share):
        return Verdict.yes("fits", **facts)
    whole = [one for one in profiles.values() if one.gpus >= processes]
    alike = [one for one in whole if one.gpu_model == profile.gpu_model] or whole
    # where nobody offers as many GPUs, the most there are
    instead = min(alike, key=lambda one: (one.gpus, one.name), default=None) or max(
        (one for one in profiles.values() if one.gpus), key=lambda one: (one.gpus, one.name), default=None
    )
    return Verdict.no("ranks_on_slice", **facts, mig=profile.mig, instead=instead.name if instead else None)
