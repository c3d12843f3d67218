"""Budgets: what is spent and committed of them, what is told when, and what a launch may cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from dure import wire
from dure.errors import NotAllowed
from dure_hub.operations import budgets as module
from dure_hub.operations.budgets import Budgets, check, purse
from dure_hub.operations.money_errors import TooManyRows, over_budget
from dure_hub.operations.people import Person
from dure_hub.store.models import Budget, Event
from tests.support.money import H100, START, Books

ANN, BOB = Person("ann", teams=frozenset({"red"})), Person("bob", teams=frozenset({"blue"}))
ROOT = Person("root", admin=True)
UNIT = 1_000_000


async def put(books: Books, amount: int | None, kind: str = "team", name: str = "red") -> wire.Budget | None:
    ask = wire.BudgetRequest(kind=kind, name=name, amount=amount)
    return await Budgets(books.store, books.clock).put(ROOT, ask)


def told(books: Books, verb: str = "budget.alert") -> list[tuple[str, int]]:
    with books.store.reading() as session:
        rows = session.scalars(select(Event).where(Event.verb == verb).order_by(Event.id)).all()
    return [(row.object, row.verdict["facts"].get("percent", 0)) for row in rows]


async def test_spent_is_the_months_and_committed_what_leases_are_bound_to_cost(books: Books) -> None:
    books.lease(-1, 2, team="red")
    books.lease(239, None, team="red", until=START + timedelta(hours=242))
    books.lease(239, None, team="red", until=None, rate=UNIT)
    books.lease(0, 3, team="red", rate=None)
    books.lease(0, 5, team="blue")
    books.lease(0, 5, team="red", parent="another")
    found = await put(books, 1000 * UNIT)
    assert found is not None
    assert found.spent == H100 + H100 + UNIT
    assert found.committed == 2 * H100 + 21 * 24 * UNIT
    assert (found.month, found.percent, found.unpriced_hours) == ("2026-01", 1.7, 3)


async def test_a_project_and_a_team_may_both_pay_for_one_lease(books: Books) -> None:
    books.lease(0, 2, team="red", project="digits")
    books.lease(0, 3, team="blue", project="digits")
    books.lease(0, 4, project="digits")
    await put(books, 100 * UNIT)
    await put(books, 50 * UNIT, "project", "red/digits")
    found = await Budgets(books.store, books.clock).list(ROOT)
    assert [(row.kind, row.spent, row.percent) for row in found] == [
        ("project", 2 * H100, 32.0),
        ("team", 2 * H100, 16.0),
    ]


async def test_people_see_the_budgets_of_their_teams_and_of_the_projects_in_them(books: Books) -> None:
    # whatever project they name in a launch of their own
    books.lease(0, 1, owner="bob", project="digits")
    books.lease(0, 1, owner="bob", team="blue", project="digits")
    await put(books, UNIT)
    await put(books, UNIT, "project", "red/digits")
    budgets = Budgets(books.store, books.clock)
    assert [row.name for row in await budgets.list(ANN)] == ["red/digits", "red"]
    assert [row.name for row in await budgets.list(BOB)] == []
    assert [row.name for row in await budgets.list(Person("eve"))] == []
    assert [row.name for row in await budgets.list(ROOT)] == ["red/digits", "red"]


async def test_a_budget_of_a_project_without_a_team_is_shown_to_administrators_and_met_by_nobody(
    books: Books,
) -> None:
    books.lease(0, 2, owner="bob", project="digits")
    with books.store.transaction() as session:
        old = {"kind": "project", "name": "digits", "amount": UNIT, "set_by": "root", "set_at": books.clock()}
        session.add(Budget(**old))
    (seen,) = await Budgets(books.store, books.clock).list(ROOT)
    assert (seen.name, seen.spent) == ("digits", 0)
    assert ask(books, team=None, project="digits").code == "no_budget"
    assert ask(books, team="digits", project="digits").code == "no_budget"
    await Budgets(books.store, books.clock).watch()
    assert told(books) == []
    assert await put(books, None, "project", "digits") is None
    assert await Budgets(books.store, books.clock).list(ROOT) == []


@pytest.mark.parametrize("name", ["digits", "/digits", "red/", "red/Digits", "red/a b", "re\td/digits", "red/-a"])
def test_a_project_is_named_with_its_team(name: str) -> None:
    with pytest.raises(ValidationError):
        wire.BudgetRequest(kind="project", name=name, amount=1)


def test_a_team_may_have_any_name_and_a_slash_in_it() -> None:
    assert wire.BudgetRequest(kind="project", name="Lab A/vision/digits", amount=1).name == "Lab A/vision/digits"
    assert wire.BudgetRequest(kind="team", name="Lab A/vision", amount=1).name == "Lab A/vision"


async def test_a_refusal_has_no_figures_of_a_budget_that_one_may_not_see(books: Books) -> None:
    await put(books, UNIT)
    await put(books, UNIT, "project", "red/digits")
    for given in ({"team": "red"}, {"team": "red", "project": "digits"}):
        refused = ask(books, **given)
        for person in (ANN, ROOT):
            assert over_budget(refused, person).facts["micro"]["amount"] == UNIT
        hidden = over_budget(refused, BOB)
        assert (hidden.code, hidden.status) == ("over_unseen_budget", 402)
        assert set(hidden.facts) == {"kind", "name"}
        for language in ("en", "ko"):
            assert "{" not in hidden.text(language) + hidden.advice(language)
            assert "red" in hidden.text(language)


async def test_each_percent_is_told_once_a_month(books: Books) -> None:
    await put(books, 100 * UNIT)
    budgets = Budgets(books.store, books.clock)
    for hours, expected in ((5, []), (2, [50]), (0, []), (8, [80, 100]), (9, [])):
        if hours:
            books.lease(0, hours, team="red")
        before = len(told(books))
        for _ in range(2):
            await budgets.watch()
        # those of one transaction have one time, and no order
        assert sorted(percent for _, percent in told(books)[before:]) == expected
    assert {thing for thing, _ in told(books)} == {"budget:team/red"}
    books.clock.now = START + timedelta(days=40)
    books.lease(31 * 24, 8, team="red")
    await budgets.watch()
    assert sorted(percent for _, percent in told(books)) == [50, 50, 80, 100]


async def test_a_new_amount_is_told_of_only_where_it_lies_ahead(books: Books) -> None:
    books.lease(0, 10, team="red")
    budgets = Budgets(books.store, books.clock)
    await put(books, 100 * UNIT)
    await budgets.watch()
    assert sorted(percent for _, percent in told(books)) == [50, 80]
    await put(books, 90 * UNIT)
    await budgets.watch()
    assert sorted(percent for _, percent in told(books)) == [50, 80]
    await put(books, 400 * UNIT)
    await budgets.watch()
    books.lease(20, 15, team="red")
    await budgets.watch()
    assert sorted(percent for _, percent in told(books)) == [50, 50, 80]


async def test_setting_and_removing_are_events_and_for_administrators(books: Books) -> None:
    with pytest.raises(NotAllowed):
        await Budgets(books.store, books.clock).put(ANN, wire.BudgetRequest(kind="team", name="red", amount=1))
    await put(books, UNIT)
    assert await put(books, None) is None
    assert await put(books, None) is None
    with books.store.reading() as session:
        assert session.scalars(select(Budget)).all() == []
        events = session.scalars(select(Event).order_by(Event.id)).all()
    assert [(event.verb, event.actor, event.verdict["facts"]["before"]) for event in events] == [
        ("budget.set", "root", None),
        ("budget.remove", "root", UNIT),
    ]


async def test_there_are_only_so_many(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    await put(books, UNIT)
    await put(books, 2 * UNIT)
    with pytest.raises(TooManyRows):
        await put(books, UNIT, name="blue")


def ask(books: Books, **more: Any) -> Any:
    given = {"team": "red", "project": None, "rate": H100, "lifetime_s": 3600, "now": books.clock(), **more}
    with books.store.transaction() as session:
        return check(session, **given)


async def test_a_launch_that_breaks_a_budget_is_refused_with_what_would_fit(books: Books) -> None:
    books.lease(0, 11, team="red")
    assert ask(books).code == "no_budget"
    await put(books, 100 * UNIT)
    assert ask(books).code == "within_budget"
    assert ask(books, rate=None).code == "rate_unknown"
    assert ask(books, team="blue", lifetime_s=None).code == "no_budget"
    refused = ask(books, lifetime_s=7200, others=[("mig-1g.10gb", 1_240_000), ("gpu-shared", 100), ("odd", None)])
    assert (refused.allowed, refused.code) == (False, "over_budget_cheaper")
    error = over_budget(refused)
    assert error.text("en") == "This would come to 16.00, and 12.00 of 100.00 is left this month for the team red."
    assert "mig-1g.10gb would fit: it comes to 2.48" in error.advice("en")
    assert "mig-1g.10gb" in error.advice("ko")
    assert "팀" in error.text("ko")
    assert error.facts["micro"]["left"] == 12 * UNIT
    alone = over_budget(ask(books, lifetime_s=7200))
    assert "At most 1.5 h" in alone.advice("en")


async def test_a_lease_without_an_end_is_judged_by_the_rest_of_the_month(books: Books) -> None:
    await put(books, 21 * 24 * H100)
    assert ask(books, lifetime_s=None).allowed
    books.clock.move(-1)
    assert not ask(books, lifetime_s=None).allowed


async def test_what_runs_is_counted_to_its_end_and_what_is_granted_at_once(books: Books) -> None:
    await put(books, 30 * H100)
    await put(books, 100 * H100, "project", "red/digits")
    await put(books, 200 * H100, "team", "blue")
    books.lease(239, None, team="red", until=START + timedelta(hours=260))
    with books.store.transaction() as session:
        now = books.clock()
        found = purse(session, now)
        assert found.check("red", "digits", H100, 9 * 3600).allowed
        found.take("red", "digits", H100, 5 * 3600)
        assert not found.check("red", "digits", H100, 5 * 3600).allowed
        assert found.check("red", "digits", H100, 4 * 3600).allowed
        assert found.spending["project", "red/digits"].committed == 5 * H100
        assert found.check("blue", "digits", H100, 200 * 3600).code == "within_budget"
        assert found.check(None, "digits", H100, 999 * 3600).code == "no_budget"
