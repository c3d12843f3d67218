"""What a lease holds, what a placement answers, and what else a request may wish for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dure_hub.policies.verdict import Verdict

CPU = "cpu"
WHOLE = 1000
"""A whole GPU in thousandths."""


@dataclass(frozen=True)
class Slice:
    """What a lease holds: a GPU's UUID or `cpu`, with the cores and memory (MiB) counted for it, on `node`.

    Of a GPU it is the whole, or the MIG instance `mig` from memory unit `start` (`visible` is its own UUID, None
    until it is made), or a share of `share` thousandths. `team` is whose it is: it matters only to who may share.
    """

    device: str
    cpu_cores: float
    memory_mb: int
    node: str = ""
    mig: str | None = None
    start: int | None = None
    visible: str | None = None
    share: int = WHOLE
    team: str | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The form kept in the lease's row; what is not said there is as usual."""
        row: dict[str, Any] = {"device": self.device, "cpu_cores": self.cpu_cores, "memory_mb": self.memory_mb}
        if self.node:
            row["node"] = self.node
        if self.mig is not None:
            row |= {"mig": self.mig, "start": self.start, "visible": self.visible}
        if self.share != WHOLE:
            row["share"] = self.share
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any], team: str | None = None) -> Slice:
        """Back from the lease's row."""
        return cls(
            str(row["device"]),
            float(row["cpu_cores"]),
            int(row["memory_mb"]),
            str(row.get("node", "")),
            row.get("mig"),
            row.get("start"),
            row.get("visible"),
            int(row.get("share", WHOLE)),
            team,
        )


@dataclass(frozen=True)
class Wish:
    """What a request wants of its place beyond its profile.

    `team` is whose it will be, `pool` what the node should be for ("": any node will do). `apart` are devices and
    nodes of its siblings: it goes to another node if it can, else to another device, else anywhere. Shares of one
    GPU go to one team alone, unless `share_across_teams`. `nodes` are those from which its owner's home can be
    reached (None: all are), and `without` those that may not have it now: it goes to no other, and not to these.
    """

    team: str | None = None
    pool: str = ""
    apart: frozenset[str] = frozenset()
    share_across_teams: bool = False
    nodes: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def allows(self, node: str) -> bool:
        """Whether it may go to this node at all, whatever is free there."""
        return (self.nodes is None or node in self.nodes) and node not in self.without


@dataclass(frozen=True)
class Placement:
    """The verdict, and the slices where it allows."""

    verdict: Verdict
    slices: tuple[Slice, ...] = ()
