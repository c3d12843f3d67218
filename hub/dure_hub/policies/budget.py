"""What a team or project may spend in a month: when to say so, and whether a launch still fits. Micro-units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dure_hub.policies.cost import price
from dure_hub.policies.verdict import Verdict

ALERTS = (50, 80, 100)
"""Percent of a budget at which its people are told, once each."""
_SECOND_US = 1_000_000


@dataclass(frozen=True)
class Budget:
    """Money a month: `amount` is at least 1. Whose it is (`kind`, `name`) is for the sentence alone."""

    amount: int
    kind: str = "team"
    name: str = ""


def alerts(before: int, after: int, budget: Budget) -> list[int]:
    """The percents of `ALERTS` that lie between two sums of one month; each is crossed once as money is spent.

    Where the budget itself was changed, `before` is the sum that was last told of, else a percent is told twice.
    """
    return [percent for percent in ALERTS if before * 100 < percent * budget.amount <= after * 100]


def crossed(amount: int, spent: int) -> list[int]:
    """The percents of `ALERTS` that are spent of this amount."""
    return [percent for percent in ALERTS if percent * amount <= spent * 100]


def check_launch(
    budget: Budget,
    *,
    spent: int,
    committed: int,
    rate: int | None,
    lifetime_s: int | None,
    left_s: int,
    others: Sequence[tuple[str, int | None]] = (),
) -> Verdict:
    """Whether work at `rate` an hour fits what is left of the month, once what runs now has cost what it will.

    `committed` is what active leases will still cost in this month, `left_s` how much of the month is left: no
    more than that is counted of `lifetime_s` (None: no end). Codes: `within_budget`; `rate_unknown` (allowed:
    nobody can say that it breaks anything); `over_budget_cheaper` with the dearest of `others` (profile, rate)
    that would fit for as long; `over_budget` where none would. `affordable_s` is how long the asked one could run.
    """
    facts: dict[str, Any] = {"kind": budget.kind, "name": budget.name, "amount": budget.amount, "spent": spent}
    left = max(budget.amount - spent - committed, 0)
    facts |= {"committed": committed, "left": left, "rate": rate}
    if rate is None:
        return Verdict.yes("rate_unknown", **facts)
    seconds = left_s if lifetime_s is None else min(lifetime_s, left_s)
    facts["comes_to"] = _costs(rate, seconds)
    if _costs(rate, seconds) <= left:
        return Verdict.yes("within_budget", **facts)
    facts["affordable_s"] = left * 3600 // rate
    fitting = [
        (own, name) for name, own in others if own is not None and own < rate and _costs(own, seconds) <= left
    ]
    if not fitting:
        return Verdict.no("over_budget", **facts)
    own, name = max(fitting, key=lambda one: (one[0], one[1]))
    cheaper = {"profile": name, "rate": own, "comes_to": _costs(own, seconds)}
    return Verdict.no("over_budget_cheaper", **facts, cheaper=cheaper)


def _costs(rate: int, seconds: int) -> int:
    """As the ledger will count it."""
    return price(rate, seconds * _SECOND_US)
