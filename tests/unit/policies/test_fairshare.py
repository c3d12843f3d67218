"""Decayed use: the closed form, and that everybody's turn comes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.policies.fairshare import HALF_LIFE, decay, held, share
from dure_hub.policies.order import Waiting, order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
hours = st.floats(0, 2000).map(lambda n: timedelta(hours=n))


def test_use_counts_half_after_a_week() -> None:
    assert decay(800.0, timedelta(days=7)) == 400
    assert decay(800.0, timedelta(days=21)) == 100
    assert decay(800.0, timedelta(seconds=-5)) == 800


def test_a_gpu_held_for_ever_comes_to_a_half_life_by_ln_2() -> None:
    ever = held(1, NOW - timedelta(days=3650), None, NOW)
    assert ever == pytest.approx(HALF_LIFE.total_seconds() / math.log(2))


def test_nothing_is_counted_of_what_is_still_to_come() -> None:
    assert held(2, NOW, None, NOW) == 0
    assert held(2, NOW + timedelta(1), NOW + timedelta(2), NOW) == 0
    assert held(2, NOW - timedelta(1), NOW + timedelta(9), NOW) == held(2, NOW - timedelta(1), None, NOW)


@given(age=hours, length=hours, cut=st.floats(0, 1), gpus=st.floats(0.1, 64))
def test_any_cutting_of_an_interval_sums_to_the_same(
    age: timedelta, length: timedelta, cut: float, gpus: float
) -> None:
    end = NOW - age
    start, middle = end - length, end - length * cut
    whole = held(gpus, start, end, NOW)
    assert held(gpus, start, middle, NOW) + held(gpus, middle, end, NOW) == pytest.approx(whole, abs=1e-3)


@given(age=hours, length=st.floats(0.1, 48), gpus=st.floats(0.1, 64))
def test_the_closed_form_is_what_many_samples_come_to(age: timedelta, length: float, gpus: float) -> None:
    end, step = NOW - age, timedelta(hours=length) / 500
    start = end - 500 * step
    samples = [(start + (n + 0.5) * step, gpus * step.total_seconds()) for n in range(500)]
    summed = math.fsum(value * 0.5 ** ((NOW - at) / HALF_LIFE) for at, value in samples)
    assert summed == pytest.approx(held(gpus, start, end, NOW), rel=1e-4)


@given(value=st.floats(0, 1e9), first=hours, second=hours)
def test_a_sum_can_be_kept_and_decayed_step_by_step(value: float, first: timedelta, second: timedelta) -> None:
    assert decay(decay(value, first), second) == pytest.approx(decay(value, first + second))


def test_a_share_is_beside_the_weight_and_a_weight_of_nothing_is_refused() -> None:
    assert share(100, 4) == 25
    for weight in (0, -1, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            share(100, weight)


@settings(max_examples=20, deadline=None)
@given(
    weights=st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=2, max_size=5),
    past=st.lists(st.floats(0, 1e6), min_size=5, max_size=5),
)
def test_whoever_waits_goes_first_in_the_end_and_gpu_time_follows_the_weights(
    weights: list[float], past: list[float]
) -> None:
    """One GPU, an hour each, and everybody asks again at once: the worst for whoever has used most."""
    used = past[: len(weights)]
    got = [0] * len(weights)
    late = [0] * len(weights)
    for hour in range(3000):
        at = NOW + timedelta(hours=hour)
        line = [
            Waiting(str(n), "gpu", 0, at, 3600, team_share=share(used[n], weights[n])) for n in range(len(weights))
        ]
        first = int(order(line)[0].id)
        used = [decay(value, timedelta(hours=1)) for value in used]
        used[first] += held(1, at, at + timedelta(hours=1), at + timedelta(hours=1))
        if hour >= 2000:  # the past has decayed by then
            got[first] += 1
            late = [0 if n == first else waits + 1 for n, waits in enumerate(late)]
            assert max(late) <= 10 * sum(weights)
    for n, weight in enumerate(weights):
        assert got[n] / 1000 == pytest.approx(weight / sum(weights), abs=0.02)
