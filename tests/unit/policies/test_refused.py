"""What a cluster refused is not asked for again at once, by whom it was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.policies.refused import NODE, QUEUE, QUOTA, Refusals, Said, refused, standing
from dure_hub.policies.verdict import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CARD = "gpu-full"


def said(code: str, seconds: float, why: str = "no room", team: str | None = "vision", **facts: str) -> Said:
    """A refusal that holds for so long, as a row keeps it."""
    verdict = refused(code, NOW + timedelta(seconds=seconds), why=why, **facts)
    return team, CARD, verdict.to_json()


@pytest.mark.parametrize("code", [QUEUE, QUOTA])
def test_it_holds_until_its_time_and_not_at_it(code: str) -> None:
    found = standing([said(code, 1)], NOW).of("vision", CARD)
    assert found is not None
    assert (found.allowed, found.code) == (False, code)
    for seconds in (0, -1):
        assert standing([said(code, seconds)], NOW) == Refusals()


@pytest.mark.parametrize(("code", "facts"), [(QUEUE, {}), (QUOTA, {}), (NODE, {"node": "n1"})])
def test_the_last_to_end_is_told_whatever_the_order(code: str, facts: dict[str, str]) -> None:
    both = [said(code, 5, "late", **facts), said(code, 2, "early", **facts)]
    for order in (both, both[::-1]):
        standing_now = standing(order, NOW)
        found = standing_now.of("vision", CARD) or standing_now.on(CARD, None)
        assert found is not None
        assert found.facts["why"] == "late"


def test_a_queue_is_a_teams_and_a_quota_everybodys() -> None:
    queue, quota = standing([said(QUEUE, 5)], NOW), standing([said(QUOTA, 5)], NOW)
    assert [queue.of(team, CARD) is None for team in ("vision", "speech", None)] == [False, True, True]
    assert [quota.of(team, CARD) is None for team in ("vision", "speech", None)] == [False, False, False]
    assert queue.of("vision", "cpu") is quota.of("vision", "cpu") is None


def test_a_node_is_left_out_for_that_profile_and_others_are_not() -> None:
    found = standing([said(NODE, 5, node="n1"), said(NODE, 3, node="n2"), said(NODE, -1, node="n3")], NOW)
    assert found.without(CARD) == {"n1", "n2"}
    assert found.without("cpu") == frozenset()
    assert found.of("vision", CARD) is None, "there may be room elsewhere"
    nodes = [found.on(CARD, nodes) for nodes in (None, frozenset({"n2"}), frozenset({"n3"}))]
    assert [one.facts["node"] if one else None for one in nodes] == ["n1", "n2", None]
    assert standing([said(NODE, 5, node="")], NOW).of("speech", CARD) is not None, "any node might have taken it"


def test_other_verdicts_are_no_refusals() -> None:
    others: list[Said] = [(None, "cpu", Verdict.no("no_gpu_free", total=1).to_json()), (None, "cpu", {})]
    assert standing(others, NOW) == Refusals()
