"""How often a service ended, why, and when it is started again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.supervisor.care import (
    CALM_S,
    EARLY_EXITS,
    FIRST_DELAY_S,
    JITTER,
    LONGEST_DELAY_S,
    Care,
    End,
    load_care,
    pause_s,
)

draws = st.floats(0, 1)


def ended(care: Care, code: int | None = 1, lived_s: float = 1, answered: bool = False) -> Care:
    """Once more, and started again."""
    return care.ended(End(code, 1000, lived_s), answered, 0.5).started()


@given(st.integers(1, 10**6), draws)
def test_the_delay_grows_to_its_cap_and_is_spread(in_a_row: int, draw: float) -> None:
    delay = pause_s(in_a_row, draw)
    assert FIRST_DELAY_S * (1 - JITTER) <= delay <= LONGEST_DELAY_S * (1 + JITTER)
    assert pause_s(in_a_row + 1, draw) >= delay
    assert pause_s(in_a_row, 0) < pause_s(in_a_row, 1), "several that end for one reason do not start in step"


def test_the_first_delays_double() -> None:
    assert [pause_s(n, 0.5) for n in range(1, 5)] == pytest.approx([0.2, 0.4, 0.8, 1.6])


def test_a_long_life_starts_from_the_first_delay_again() -> None:
    care = Care()
    for _ in range(6):
        care = ended(care, answered=True)
    assert care.in_a_row == 6
    assert ended(care, lived_s=CALM_S + 1, answered=True).in_a_row == 1
    assert ended(care, lived_s=CALM_S + 1, answered=False).in_a_row == 7, "it hung all the time"


def test_what_never_answers_is_told_as_such_and_no_longer_once_it_does() -> None:
    care = Care()
    for times in range(1, EARLY_EXITS + 1):
        assert not care.failing
        care = ended(care)
        assert care.unanswered == times
    assert care.failing
    assert not care.answers().failing
    assert not ended(care, answered=True).failing


def test_an_end_says_its_code_or_signal() -> None:
    assert End(-signal.SIGKILL, 0).signal == "SIGKILL"
    assert End(-40, 0).signal == "signal 40"
    assert (End(3, 0).signal, End(None, 0).signal) == (None, None)


def test_while_it_waits_for_its_next_start_it_has_not_been_restarted(tmp_path: Path) -> None:
    care = Care().ended(End(-9, 1000, 5), True, 0.5)
    assert (care.ends, care.restarts) == (1, 0)
    assert care.next_at == pytest.approx(1000.2)
    assert care.started().restarts == 1
    care.save(tmp_path / "x.care.json")
    assert load_care(tmp_path / "x.care.json") == care
    for text in ("", "[]", "{}", '{"last": 3}', '{"last": null, "colour": 1}'):
        (tmp_path / "x").write_text(text)
        assert load_care(tmp_path / "x") is None
    assert load_care(tmp_path / "none") is None
