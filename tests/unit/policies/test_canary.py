"""Shares and what may be done, as tables."""

from __future__ import annotations

import pytest

from dure_hub.policies.canary import (
    Server,
    gives_up,
    may_canary,
    may_promote,
    restart_delay_s,
    state,
    weights,
)


def champion(phase: str = "ready") -> Server:
    return Server("a", 1, "champion", phase, 100)


def canary(phase: str = "ready", percent: int = 10) -> Server:
    return Server("b", 2, "canary", phase, percent)


RETIRED = Server("c", 3, "retired", "draining", 0)


@pytest.mark.parametrize(
    ("servers", "shares"),
    [
        ([], {}),
        ([champion("starting")], {}),
        ([champion()], {"a": 100}),
        ([champion(), RETIRED], {"a": 100}),
        ([champion(), canary()], {"a": 90, "b": 10}),
        ([champion(), canary(percent=0)], {"a": 100, "b": 0}),
        ([champion(), canary(percent=100)], {"a": 0, "b": 100}),
        ([champion(), canary("starting", 50)], {"a": 100}),
        ([champion(), canary("crashed", 50)], {"a": 100}),
        ([champion("crashed"), canary()], {"b": 100}),
        ([champion("crashed"), canary(percent=0)], {}),
        ([champion("crashed"), canary("crashed")], {}),
    ],
)
def test_only_who_is_ready_gets_requests(servers: list[Server], shares: dict[str, int]) -> None:
    assert weights(servers) == shares
    assert sum(weights(servers).values()) in (0, 100)


@pytest.mark.parametrize(
    ("servers", "version", "code"),
    [
        ([champion("starting")], 2, "champion_not_ready"),
        ([], 2, "champion_not_ready"),
        ([champion(), canary()], 3, "canary_runs"),
        ([champion(), canary()], 2, "share_changes"),
        ([champion()], 2, "canary_starts"),
        ([champion(), RETIRED], 3, "canary_starts"),
    ],
)
def test_one_canary_beside_a_champion_that_answers(servers: list[Server], version: int, code: str) -> None:
    assert may_canary(servers, version).code == code


@pytest.mark.parametrize(
    ("servers", "code"),
    [
        ([champion()], "no_canary"),
        ([champion(), canary("starting")], "canary_not_ready"),
        ([champion(), canary()], "promotes"),
        ([champion("crashed"), canary()], "promotes"),
    ],
)
def test_only_a_canary_that_answers_is_promoted(servers: list[Server], code: str) -> None:
    assert may_promote(servers).code == code


@pytest.mark.parametrize(
    ("servers", "restarted", "word"),
    [
        ([champion("waiting")], False, "starting"),
        ([champion("starting")], False, "starting"),
        ([champion("starting")], True, "degraded"),
        ([champion()], True, "ready"),
        ([champion("crashed"), canary()], True, "degraded"),
        ([champion("failed")], True, "failed"),
        ([champion("failed"), canary()], True, "degraded"),
        ([RETIRED], False, "failed"),
    ],
)
def test_the_state_in_one_word(servers: list[Server], restarted: bool, word: str) -> None:
    assert state(servers, restarted) == word


def test_crashes_are_tried_again_later_and_later() -> None:
    assert [restart_delay_s(n) for n in (1, 2, 3, 4, 5, 6, 50)] == [1, 2, 4, 8, 16, 30, 30]
    assert [gives_up(n, False) for n in (1, 4, 5)] == [False, False, True]
    assert not gives_up(500, True)
