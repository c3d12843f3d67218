"""Quotas of teams as a queue outside the portal keeps them."""

from __future__ import annotations

from dure import wire
from dure_hub.operations.people import Person
from dure_hub.operations.quotas import Quotas
from dure_hub.operations.team_quotas import team_gpus
from dure_hub.store.models import Team
from tests.support.money import START, Books

ROOT = Person("root", admin=True)


async def test_every_team_has_its_own_quota_or_that_of_everybody(books: Books) -> None:
    quotas = Quotas(books.store, books.clock)
    with books.store.transaction() as session:
        for name, leaving in (("blue", False), ("red", False), ("gone", True)):
            session.add(Team(name=name, leaving=leaving, set_by="root", set_at=START))
    with books.store.reading() as session:
        assert team_gpus(session) == {"blue": None, "red": None}
    for kind, name, limits in (
        ("team", "red", {"gpus": 4}),
        ("team", "green", {"gpu_hours_month": 5}),
        ("team", "*", {"gpus": 2}),
        ("user", "ann", {"gpus": 1}),
    ):
        await quotas.put(ROOT, wire.QuotaRequest(kind=kind, name=name, **limits))
    with books.store.reading() as session:
        assert team_gpus(session) == {"blue": 2, "green": None, "red": 4}
