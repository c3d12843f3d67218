"""What people can pick: looks that are shared, and looks that came too late."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from dure_hub.backends.base import Inventory
from dure_hub.catalogue.rates import GIVEN
from dure_hub.operations.rates import RateCards
from tests.support.world import HandClock, World, gpus


async def test_a_look_that_was_begun_before_a_cut_is_not_shown_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> Inventory:
        seen = world.place.inventory
        begun.set()
        await go.wait()
        return seen

    monkeypatch.setattr(world.place, "look", slow)
    first = asyncio.create_task(world.profiles.fleet())
    await begun.wait()
    world.place.inventory = Inventory(2, 4096, gpus(1))
    world.profiles.forget()
    go.set()
    await first
    assert [len(one.gpus) for one in (await world.profiles.fleet()).machines] == [1]
    monkeypatch.undo()
    world.place.inventory = Inventory(2, 4096)
    assert len((await world.profiles.fleet()).machines[0].gpus) == 1, "a look serves everybody for a while"


def test_a_card_that_was_never_good_has_no_prices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bad edit and a restart: the given prices are not this portal's."""
    path = tmp_path / "rates.yaml"
    path.write_text("- {gpu: rtx-4090, rate: 3, since: soon}\n")
    with caplog.at_level(logging.ERROR):
        assert RateCards(path).card().at("rtx-4090", HandClock()()) is None
    assert "line 1" in caplog.text


def test_a_bad_edit_keeps_the_last_good_card(tmp_path: Path) -> None:
    path, day = tmp_path / "rates.yaml", HandClock()()
    cards = RateCards(path)
    assert cards.card() is GIVEN
    path.write_text("- {gpu: rtx-4090, rate: 3, since: 2025-01-01}\n")
    assert cards.card().at("rtx-4090", day) == 3_000_000
    path.write_text("- {gpu: rtx-4090, rate: many, since: 2025-01-01}\n")
    assert cards.card().at("rtx-4090", day) == 3_000_000
