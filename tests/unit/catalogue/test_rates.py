"""The rate card."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml

from dure_hub.catalogue import gpus, grids, rates
from dure_hub.catalogue.mig import MigGrid
from dure_hub.catalogue.rates import GIVEN, MICRO, BadRates, Rate, RateCard

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def price(grid: MigGrid, name: str, rate: int = 8 * MICRO) -> int:
    one = grid.named(name)
    assert one is not None
    found = rates.price_of_part(rate, rates.part_of(grid, one))
    assert found is not None
    return found


def test_the_given_card_has_the_given_rates() -> None:
    found = [GIVEN.at(key, NOW) for key in ("h100-sxm-80", "a100-sxm-80", "rtx-4090", "l40s", None)]
    assert found == [8 * MICRO, 6 * MICRO, 2 * MICRO, None, None]


def test_the_newest_rate_of_the_past_counts() -> None:
    card = RateCard((Rate("l4", 1, date(2026, 1, 1)), Rate("l4", 2, date(2026, 6, 1))))
    days = [
        datetime(2025, 12, 31, tzinfo=UTC),
        datetime(2026, 5, 31, 23, tzinfo=UTC),
        datetime(2026, 6, 1, tzinfo=UTC),
    ]
    assert [card.at("l4", day) for day in days] == [None, 1, 2]


def test_an_instance_costs_the_larger_of_its_shares_of_processors_and_memory() -> None:
    # a 3g has 60 of 132 processors and half of the memory; a 4g 64 of 132 and half of the memory
    assert price(grids.H100_80, "3g.40gb") == 4 * MICRO
    # a 1g has 16 of 132 processors and an eighth of the memory; with double memory it has a quarter
    assert price(grids.H100_80, "1g.10gb") == 1 * MICRO
    assert price(grids.H100_80, "1g.20gb") == 2 * MICRO
    # an A100's 1g has 14 of 98 processors, which is more than an eighth
    assert price(grids.A100_80, "1g.10gb", 6 * MICRO) == 857_143
    assert price(grids.H100_80, "7g.80gb") == 8 * MICRO


def test_on_an_a100_a_4g_is_dearer_than_a_3g_and_every_1g_together_cost_the_whole() -> None:
    """A 4g has 56 of 98 processors, more than its half of the memory; a 3g has 42."""
    assert price(grids.A100_80, "3g.40gb", 98) == 49
    assert price(grids.A100_80, "4g.40gb", 98) == 56
    assert 7 * price(grids.A100_80, "1g.10gb", 98) == 98


GRIDS = sorted({model.grid for model in gpus.MODELS if model.grid is not None}, key=lambda grid: grid.name)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_more_of_a_gpu_never_costs_less_and_never_more_than_the_whole(grid: MigGrid) -> None:
    for one in grid.profiles:
        assert (
            0
            < price(grid, one.name)
            <= price(grid, max(grid.profiles, key=lambda big: big.size).name)
            == 8 * MICRO
        )
        for more in grid.profiles:
            if more.compute >= one.compute and more.size >= one.size:
                assert price(grid, more.name) >= price(grid, one.name)


def test_an_unknown_price_stays_unknown() -> None:
    assert rates.price_of_part(None, (1, 2)) is None


def test_the_card_survives_being_written_and_read() -> None:
    assert rates.parse(rates.written(GIVEN)) == GIVEN
    assert rates.read(yaml.safe_load(rates.written(GIVEN))) == GIVEN
    assert rates.parse("# nothing yet\n") == RateCard(())


@pytest.mark.parametrize(
    ("entries", "number", "words"),
    [
        ("8", 0, "a list"),
        (["x"], 1, "gpu, rate and since"),
        ([{"gpu": "l4", "rate": 1}], 1, "it has since"),
        ([{"gpu": "l4", "rate": 1, "since": date(2026, 1, 1), "from": 2}], 1, "nothing else"),
        ([{"gpu": "l5", "rate": 1, "since": date(2026, 1, 1)}], 1, "gpu is one of"),
        ([{"gpu": "l4", "rate": -1, "since": date(2026, 1, 1)}], 1, "rate is a number"),
        ([{"gpu": "l4", "rate": "1e-9", "since": date(2026, 1, 1)}], 1, "rate is a number"),
        ([{"gpu": "l4", "rate": float("nan"), "since": date(2026, 1, 1)}], 1, "rate is a number"),
        ([{"gpu": "l4", "rate": True, "since": date(2026, 1, 1)}], 1, "rate is a number"),
        ([{"gpu": "l4", "rate": 1, "since": "soon"}], 1, "since is a day"),
        ([{"gpu": "l4", "rate": 1, "since": date(2026, 1, 1)}] * 2, 2, "one rate from one day on"),
    ],
)
def test_a_bad_card_names_entry_value_and_rule(entries: Any, number: int, words: str) -> None:
    with pytest.raises(BadRates) as caught:
        rates.read(entries)
    assert caught.value.entry == number
    assert words in str(caught.value)


HEAD = "# prices\n- {gpu: l4, rate: 1, since: 2026-01-01}\n"


@pytest.mark.parametrize(
    ("text", "line", "value", "words"),
    [
        (HEAD + "- {gpu: l4, rate: 1, since: 2026-02-30}\n", 3, "2026-02-30", "since is a day"),
        (HEAD + "- {gpu: l4, rate: 1e999999, since: 2026-03-01}\n", 3, "1e999999", "rate is a number"),
        (HEAD + "- {gpu: l4, rate: " + "9" * 5000 + ", since: 2026-03-01}\n", 3, "9" * 5000, "rate is a number"),
        (HEAD + "- gpu: l4\n  rate: 1\n  rate: 2\n  since: 2026-03-01\n", 3, "rate", "stands there once"),
        (HEAD + "\n- {gpu: l5, rate: 1, since: 2026-03-01}\n", 4, "l5", "gpu is one of"),
        (HEAD + "- {gpu: l4, rate: 3, since: 2026-01-01}\n", 3, "l4 2026-01-01", "one rate from one day on"),
        (HEAD + "- {gpu: l4, rate: 1, since: 2026-03-01, [a]: 3}\n", 3, "a list", "nothing else"),
        (HEAD + "- 8\n", 3, "8", "gpu, rate and since"),
        ("gpu: l4\n", 1, "a mapping", "a list of entries"),
        (HEAD + "- {gpu: l4\n", 4, "expected ',' or '}', but got '<stream end>'", "it is YAML"),
        ("[" * 100_000, 1, None, "it is YAML"),
    ],
)
def test_a_bad_file_names_line_value_and_rule(text: str, line: int, value: str | None, words: str) -> None:
    with pytest.raises(BadRates) as caught:
        rates.parse(text)
    assert caught.value.line == line
    assert value is None or caught.value.value == value
    assert f"line {line}: " in str(caught.value)
    assert words in str(caught.value)


def test_a_bad_card_is_told_in_korean_too_and_in_few_words() -> None:
    with pytest.raises(BadRates) as caught:
        rates.parse(HEAD + "- {gpu: l4, rate: " + "9" * 5000 + ", since: 2026-03-01}\n")
    said = caught.value.text("ko")
    assert "3번째 줄" in said
    assert "rate는 0부터" in said
    assert len(said) < 400
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own, made here
    assert (again.line, again.text("ko")) == (3, said)
