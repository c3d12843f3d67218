"""What a queue beside the portal's refused is not asked for again at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dure_hub.policies.refused import CODE, refused, standing
from dure_hub.policies.verdict import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KIND, OTHER = ("vision", "gpu-full"), (None, "cpu")


def said(seconds: float, why: str = "no room") -> dict[str, object]:
    """A refusal that holds for so long, as a row keeps it."""
    return refused("dure-vision", why, NOW + timedelta(seconds=seconds)).to_json()


def test_it_holds_until_its_time_and_not_at_it() -> None:
    assert standing([(KIND, said(1))], NOW)[KIND].code == CODE
    assert standing([(KIND, said(0))], NOW) == {}
    assert standing([(KIND, said(-1))], NOW) == {}


def test_the_last_to_end_is_told_whatever_the_order() -> None:
    both = [(KIND, said(5, "late")), (KIND, said(2, "early"))]
    for order in (both, both[::-1]):
        found = standing(order, NOW)[KIND]
        assert (found.allowed, found.facts["why"], found.facts["queue"]) == (False, "late", "dure-vision")


def test_each_kind_is_refused_by_itself_and_other_verdicts_are_none() -> None:
    others = [(OTHER, Verdict.no("no_gpu_free", total=1).to_json()), (OTHER, {})]
    assert standing([(KIND, said(5)), *others], NOW).keys() == {KIND}
