"""Budgets: alerts once each, and launches that would break one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.budget import ALERTS, Budget, alerts, check_launch

MONEY = 1_000_000
BUDGET = Budget(100 * MONEY, "team", "vision")


@given(amount=st.integers(1, 10**12), steps=st.lists(st.integers(0, 10**12), max_size=30))
def test_every_percent_that_was_passed_is_told_once(amount: int, steps: list[int]) -> None:
    budget, spent, told = Budget(amount), 0, []
    for step in steps:
        told += alerts(spent, spent + step, budget)
        spent += step
    assert told == [percent for percent in ALERTS if spent * 100 >= percent * amount]


def test_a_percent_is_told_when_it_is_reached() -> None:
    assert alerts(0, 50 * MONEY - 1, BUDGET) == []
    assert alerts(50 * MONEY - 1, 50 * MONEY, BUDGET) == [50]
    assert alerts(50 * MONEY, 79 * MONEY, BUDGET) == []
    assert alerts(0, 200 * MONEY, BUDGET) == [50, 80, 100]


def test_what_fits_into_what_is_left_may_start() -> None:
    fits = check_launch(
        BUDGET, spent=60 * MONEY, committed=20 * MONEY, rate=5 * MONEY, lifetime_s=4 * 3600, left_s=10**6
    )
    assert (fits.allowed, fits.code) == (True, "within_budget")
    assert (fits.facts["comes_to"], fits.facts["left"]) == (20 * MONEY, 20 * MONEY)


def test_what_does_not_fit_is_offered_the_dearest_that_does() -> None:
    others = [("a100", 6 * MONEY), ("3g", 4 * MONEY), ("1g", MONEY), ("free", 0), ("unpriced", None)]
    over = check_launch(
        BUDGET,
        spent=50 * MONEY,
        committed=10 * MONEY,
        rate=8 * MONEY,
        lifetime_s=36000,
        left_s=10**6,
        others=others,
    )
    assert (over.allowed, over.code) == (False, "over_budget_cheaper")
    assert over.facts["comes_to"] == 80 * MONEY
    assert over.facts["cheaper"] == {"profile": "3g", "rate": 4 * MONEY, "comes_to": 40 * MONEY}
    assert over.facts["affordable_s"] == 5 * 3600


def test_where_nothing_cheaper_fits_it_is_refused() -> None:
    over = check_launch(
        BUDGET, spent=101 * MONEY, committed=0, rate=MONEY, lifetime_s=60, left_s=60, others=[("x", 1000)]
    )
    assert (over.allowed, over.code) == (False, "over_budget")
    assert (over.facts["left"], over.facts["affordable_s"]) == (0, 0)


def test_only_this_month_is_counted_and_no_end_counts_to_its_end() -> None:
    day = 86400
    for lifetime in (None, 30 * day):
        verdict = check_launch(BUDGET, spent=0, committed=0, rate=MONEY, lifetime_s=lifetime, left_s=2 * day)
        assert verdict.facts["comes_to"] == 48 * MONEY


def test_an_unknown_rate_is_neither_free_nor_refused() -> None:
    unknown = check_launch(BUDGET, spent=0, committed=0, rate=None, lifetime_s=60, left_s=60)
    assert (unknown.allowed, unknown.code) == (True, "rate_unknown")
    assert "comes_to" not in unknown.facts
