"""Time that is not charged: exact, whatever a window cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.cost import Held, Seen, apart, charged, cost, micros, summed

START = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 8_000_001


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def held(*paused: tuple[float, float], until: float = 10, **more: object) -> Held:
    spans = apart((at(begin), at(end)) for begin, end in paused)
    given: dict[str, object] = {"rate": RATE, "since": START, "until": at(until), "gpus": 1000, **more}
    return Held("l", "ann", None, None, "gpu", "notebook", paused=spans, **given)  # type: ignore[arg-type]


def test_what_is_paused_costs_nothing() -> None:
    lease = held((2, 5))
    assert cost(lease, START, at(10), at(20)) == RATE * 7
    assert cost(lease, at(2), at(5), at(20)) == 0
    whole = summed(lease, START, at(10), at(20))
    assert (whole.held_us, whole.uncharged_us) == (micros(timedelta(hours=10)), micros(timedelta(hours=3)))
    assert whole.gpu_us == 1000 * micros(timedelta(hours=7))
    assert whole.cost == RATE * 7


def test_a_window_that_ends_within_a_pause_takes_only_what_lies_in_it() -> None:
    lease = held((2, 5))
    assert cost(lease, START, at(3), at(20)) == RATE * 2
    assert cost(lease, at(4), at(6), at(20)) == RATE
    assert [charged(lease, micros(timedelta(hours=hour))) // 3_600_000_000 for hour in (1, 2, 3, 5, 6)] == [
        1,
        2,
        2,
        2,
        3,
    ]


def test_spans_that_meet_are_one_and_count_once() -> None:
    assert apart([(at(4), at(5)), (at(2), at(4)), (at(3), at(3)), (at(9), at(8))]) == ((at(2), at(5)),)
    assert charged(held((2, 4), (3, 5)), micros(timedelta(hours=10))) == micros(timedelta(hours=7))


def test_what_was_measured_while_paused_is_not_charged_as_busy() -> None:
    seen = tuple(Seen(at(hour), 3_600_000_000, 3_600_000_000) for hour in range(10))
    whole = summed(held((0, 9), seen=seen), START, at(10), at(20))
    assert (whole.busy_cost, whole.idle_cost, whole.cost) == (RATE, 0, RATE)


def test_without_a_rate_only_charged_time_is_unpriced() -> None:
    whole = summed(held((0, 4), rate=None), START, at(10), at(20))
    assert whole.unpriced_us == micros(timedelta(hours=6))


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=5),
    st.lists(st.integers(0, 1000), max_size=6),
)
def test_any_cutting_adds_up_to_the_micro_unit(paused: list[tuple[int, int]], cuts: list[int]) -> None:
    lease = held(*((begin / 60, end / 60) for begin, end in paused))
    marks = [START, *(at(cut / 60) for cut in sorted(cuts)), at(20)]
    parts = [cost(lease, first, last, at(20)) or 0 for first, last in pairwise(marks)]
    assert sum(parts) == cost(lease, START, at(20), at(20))
