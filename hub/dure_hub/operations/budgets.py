"""What teams and projects may spend a month: set by administrators, told of in steps, asked before each launch.

A project is inside a team, and so is its budget: `vision/segmentation` is met by launches of that team with that
project, and so is the team's own. What names no team meets none. Months are those of UTC. What was spent is the
ledger's sum; what is committed is what active leases will still cost in this month, if each is held to its end.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from dure import wire
from dure.wire.money import in_team
from dure_hub.operations.counters import month_of
from dure_hub.operations.ledger import held, hours
from dure_hub.operations.money_errors import TooManyRows
from dure_hub.operations.near import Near
from dure_hub.operations.people import Person
from dure_hub.policies import budget as policy
from dure_hub.policies import cost
from dure_hub.policies.cost import Held, price
from dure_hub.policies.verdict import Verdict
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Budget, Lease

MOST = 1000
Subject = tuple[str, str]
"""Kind (team or project) and name, a project's with its team: `vision/segmentation`."""


@dataclass(frozen=True)
class Spending:
    """Of one team or project this month, in micro-units; `unpriced_us` was held at an unknown rate."""

    spent: int = 0
    committed: int = 0
    unpriced_us: int = 0


@dataclass
class Purse:
    """Budgets and what is left of them, read in the transaction that decides: true as long as that lasts."""

    now: datetime
    budgets: Mapping[Subject, policy.Budget]
    spending: dict[Subject, Spending] = field(default_factory=dict)

    def check(
        self,
        team: str | None,
        project: str | None,
        rate: int | None,
        lifetime_s: int | None,
        others: Sequence[tuple[str, int | None]] = (),
    ) -> Verdict:
        """Whether a launch fits the budgets of its team and its project: the first refusal, else the last yes.

        `others` are profiles with their rates, to name one that would fit. As `budget.check_launch`; `no_budget`
        where neither has one. For more time of a lease, `lifetime_s` is the time that is added.
        """
        left_s = int((cost.month(self.now)[1] - self.now).total_seconds())
        found = Verdict.yes("no_budget")
        for subject in self._paying(team, project):
            one = self.spending.get(subject, Spending())
            found = policy.check_launch(
                self.budgets[subject],
                spent=one.spent,
                committed=one.committed,
                rate=rate,
                lifetime_s=lifetime_s,
                left_s=left_s,
                others=others,
            )
            if not found.allowed:
                return found
        return found

    def take(self, team: str | None, project: str | None, rate: int | None, lifetime_s: int | None) -> None:
        """Count a grant of this transaction: the next check must know of it."""
        left_us = cost.micros(cost.month(self.now)[1] - self.now)
        us = left_us if lifetime_s is None else min(lifetime_s * 1_000_000, left_us)
        for subject in self._paying(team, project):
            one = self.spending.get(subject, Spending())
            self.spending[subject] = Spending(one.spent, one.committed + price(rate or 0, us), one.unpriced_us)

    def _paying(self, team: str | None, project: str | None) -> list[Subject]:
        return [subject for subject in subjects_of(team, project) if subject in self.budgets]


def subjects_of(team: str | None, project: str | None) -> builtins.list[Subject]:
    """Whose budgets a launch meets: its team's, and that of the project in this team."""
    if team is None:
        return []
    return [("team", team)] + ([("project", f"{team}/{project}")] if project is not None else [])


class Budgets:
    """Sets budgets, and tells when they are nearly spent."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def list(self, person: Person) -> builtins.list[wire.Budget]:
        """Those of the person's teams and of the projects in them; all for administrators."""

        def read(session: Session) -> builtins.list[wire.Budget]:
            now = self._clock()
            rows = builtins.list(session.scalars(select(Budget).order_by(Budget.kind, Budget.name)))
            rows = [row for row in rows if person.sees_budget(row.kind, row.name)]
            spending = spending_of(session, [(row.kind, row.name) for row in rows], now)
            return [_on_wire(row, spending.get((row.kind, row.name), Spending()), now) for row in rows]

        return await self._store.read(read)

    async def near(self, person: Person) -> builtins.list[Near]:
        """Those of `list` of which so much is spent that their people are warned."""
        found = [row for row in await self.list(person) if row.near is not None]
        return [Near(row.kind, row.name, "budget", row.spent, row.amount) for row in found]

    async def put(self, person: Person, ask: wire.BudgetRequest) -> wire.Budget | None:
        """Set a budget, or take it away (`amount` null, answers None); for administrators. Twice is once.

        Percents told of already are told again only where they lie ahead at the new amount.
        """
        person.need_admin()

        return await self._store.run(lambda session: set_budget(session, person.name, ask, self._clock()))

    async def watch(self) -> None:
        """Write `budget.alert` for each percent crossed since the last look, once a month each."""
        now = self._clock()
        if await self._store.read(lambda session: bool(_crossed(session, now))):
            await self._store.run(self._alert)

    def _alert(self, session: Session) -> None:
        now = self._clock()
        for row, spending, percents in _crossed(session, now):
            for percent in percents:
                facts = {
                    "kind": row.kind,
                    "name": row.name,
                    "percent": percent,
                    "spent": spending.spent,
                    "amount": row.amount,
                    "month": month_of(now),
                }
                verdict = Verdict(percent < 100, "budget_alert", facts).to_json()
                record(session, now, PORTAL, "budget.alert", f"budget:{row.kind}/{row.name}", verdict)
            row.alerted_percent, row.alerted_month = percents[-1], month_of(now)


def set_budget(session: Session, actor: str, ask: wire.BudgetRequest, now: datetime) -> wire.Budget | None:
    """`Budgets.put` in the transaction of its caller, who has seen to it that `actor` may."""
    row = session.get(Budget, (ask.kind, ask.name))
    thing = f"budget:{ask.kind}/{ask.name}"
    if ask.amount is None:
        if row is not None:
            session.delete(row)
            facts: dict[str, int | None] = {"before": row.amount}
            record(session, now, actor, "budget.remove", thing, {"code": "removed", "facts": facts})
        return None
    spending = spending_of(session, [(ask.kind, ask.name)], now).get((ask.kind, ask.name), Spending())
    before = None if row is None else row.amount
    if row is None:
        if (session.scalar(select(func.count()).select_from(Budget)) or 0) >= MOST:
            raise TooManyRows(limit=MOST)
        row = Budget(kind=ask.kind, name=ask.name)
        session.add(row)
    row.alerted_percent = _still_told(row, ask.amount, spending.spent, now)
    row.amount, row.set_by, row.set_at = ask.amount, actor, now
    facts = {"amount": ask.amount, "before": before}
    record(session, now, actor, "budget.set", thing, {"code": "set", "facts": facts})
    return _on_wire(row, spending, now)


def purse(session: Session, now: datetime, subjects: Iterable[Subject] | None = None) -> Purse:
    """Every budget (or those of `subjects`) with what is left of it, for the transaction of a decision."""
    rows = session.scalars(select(Budget)).all()
    wanted = None if subjects is None else set(subjects)
    budgets = {
        (row.kind, row.name): policy.Budget(row.amount, row.kind, row.name)
        for row in rows
        if wanted is None or (row.kind, row.name) in wanted
    }
    return Purse(now, budgets, spending_of(session, budgets, now))


def check(
    session: Session,
    *,
    team: str | None,
    project: str | None,
    rate: int | None,
    lifetime_s: int | None,
    now: datetime,
    others: Sequence[tuple[str, int | None]] = (),
) -> Verdict:
    """`Purse.check` for one launch."""
    own = purse(session, now, subjects_of(team, project))
    return own.check(team, project, rate, lifetime_s, others)


def spending_of(session: Session, subjects: Iterable[Subject], now: datetime) -> dict[Subject, Spending]:
    """What these have spent this month and are bound to spend; who has no lease is left out.

    A project that is named without a team has none: whose leases it would count, nobody can say.
    """
    wanted = set(subjects)
    teams = {name for kind, name in wanted if kind == "team"}
    projects = [parts for kind, name in wanted if kind == "project" and (parts := in_team(name)) is not None]
    if not teams and not projects:
        return {}
    first, end = cost.month(now)
    # a little more than is wanted of projects (each name in each of these teams); the loop looks closer
    of_projects = and_(
        Lease.team.in_({team for team, _ in projects}), Lease.project.in_({name for _, name in projects})
    )
    which = or_(Lease.team.in_(teams), of_projects)
    found: dict[Subject, Spending] = {}
    # up to the month's end: what was granted in this very instant is committed already
    for one in held(session, first, end, now, which, measured=False):
        part = _spending(one, first, now, end)
        for subject in subjects_of(one.team, one.project):
            if subject in wanted:
                before = found.get(subject, Spending())
                found[subject] = Spending(
                    before.spent + part.spent,
                    before.committed + part.committed,
                    before.unpriced_us + part.unpriced_us,
                )
    return found


def _spending(one: Held, first: datetime, now: datetime, end: datetime) -> Spending:
    if one.rate is None:
        return Spending(unpriced_us=cost.summed(one, first, now, now).unpriced_us)
    ahead = 0
    if one.until is None:
        last = end if one.planned is None else min(one.planned, end)
        ahead = (cost.cost(one, now, last, last) or 0) if last > now else 0
    return Spending(cost.cost(one, first, now, now) or 0, ahead)


def _crossed(session: Session, now: datetime) -> builtins.list[tuple[Budget, Spending, builtins.list[int]]]:
    rows = session.scalars(select(Budget)).all()
    spending = spending_of(session, [(row.kind, row.name) for row in rows], now)
    found = []
    for row in rows:
        one = spending.get((row.kind, row.name), Spending())
        told = row.alerted_percent or 0 if row.alerted_month == month_of(now) else 0
        # rounded up: a percent that was told of counts as crossed
        percents = policy.alerts(-(-told * row.amount // 100), one.spent, policy.Budget(row.amount))
        if percents:
            found.append((row, one, percents))
    return found


def _still_told(row: Budget, amount: int, spent: int, now: datetime) -> int | None:
    """The percent that stays told of when the amount changes: one that is crossed at the new one too."""
    if row.alerted_percent is None or row.alerted_month != month_of(now):
        return None
    crossed = policy.crossed(amount, spent)
    return min(row.alerted_percent, crossed[-1]) if crossed else None


def _on_wire(row: Budget, spending: Spending, now: datetime) -> wire.Budget:
    crossed = policy.crossed(row.amount, spending.spent)
    return wire.Budget(
        kind=row.kind,
        name=row.name,
        amount=row.amount,
        month=month_of(now),
        spent=spending.spent,
        committed=spending.committed,
        percent=round(100 * spending.spent / row.amount, 1),
        near=crossed[-1] if crossed else None,
        alerted_percent=row.alerted_percent if row.alerted_month == month_of(now) else None,
        unpriced_hours=hours(spending.unpriced_us),
        set_by=row.set_by,
        set_at=row.set_at,
    )
