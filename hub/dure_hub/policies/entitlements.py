"""Quotas of GPUs as parts of what a cluster has: for a queue that counts resources and not parts of GPUs.

A quota is so many GPUs, of whatever kind. A cluster has them in kinds (whole ones of one model, instances of one
size), each a number of pieces. A team's own part of each kind is in proportion, so that all own parts together are
no more than its quota, and no more than there is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dure_hub.policies.slices import WHOLE

Kind = TypeVar("Kind", bound=Hashable)


@dataclass(frozen=True)
class Pieces:
    """What there is of a kind: so many pieces, each of so many thousandths of a GPU."""

    count: int
    thousandths: int


@dataclass(frozen=True)
class Part:
    """Pieces of one kind: those that are a team's own, and how many it may hold at most (None: all there are)."""

    own: int
    most: int | None


def parts(
    stock: Mapping[Kind, Pieces], quotas: Mapping[str, int | None], *, borrowing: bool
) -> dict[str, dict[Kind, Part]]:
    """What each team has of each kind. `quotas` are in GPUs; None is no limit.

    Own parts are rounded down. Quotas that promise more than there is are scaled to what there is. Teams without a
    limit share equally what no quota promises. `most` is what the whole quota would buy of this kind alone; with
    `borrowing` a quota is a guarantee and no ceiling.
    """
    there_is = sum(one.count * one.thousandths for one in stock.values())
    promised = sum(quota for quota in quotas.values() if quota is not None) * WHOLE
    scale = max(there_is, promised)
    found: dict[str, dict[Kind, Part]] = {team: {} for team in quotas}
    free = [team for team, quota in quotas.items() if quota is None]
    for kind, pieces in stock.items():
        left = pieces.count
        for team, quota in quotas.items():
            if quota is None:
                continue
            own = pieces.count * quota * WHOLE // scale if scale else 0
            bought = min(pieces.count, quota * WHOLE // pieces.thousandths)
            found[team][kind] = Part(own, None if borrowing else bought)
            left -= own
        for team in free:
            found[team][kind] = Part(left // len(free), None)
    return found


def rest(stock: Mapping[Kind, Pieces], given: Mapping[str, Mapping[Kind, Part]]) -> dict[Kind, int]:
    """Pieces of each kind that are nobody's own."""
    return {kind: pieces.count - sum(one[kind].own for one in given.values()) for kind, pieces in stock.items()}
