"""Quotas in the look ahead: a promised start is kept where teams may not hold all that there is."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.policies.board import Board
from dure_hub.policies.ceilings import Ceiling, Holder
from dure_hub.policies.classes import INTERACTIVE, TRAINING
from dure_hub.policies.extending import FINENESS, latest_end
from dure_hub.policies.order import Waiting
from dure_hub.policies.promises import latest
from dure_hub.policies.queue import Held, expected_starts, look_ahead, startable
from dure_hub.policies.quota import thousandths
from dure_hub.policies.slices import Slice, Wish
from tests.unit.policies.queueing import campus, profiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILES = profiles()
GPUS = {name: thousandths(one) for name, one in PROFILES.items()}
ONE = 1000


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def of(team: str) -> tuple[Holder, ...]:
    return (("team", team),)


def asks(
    key: str, profile: str = "a100-x1", team: str = "a", minutes: float = 60, asked: float = 0, **more: object
) -> Waiting:
    counted = {"gpus": GPUS[profile], "holders": of(team), "bound_by": of(team), "wish": Wish(team=team)}
    return Waiting(key, profile, 0, after(asked), int(minutes * 60), **{**counted, **more})  # type: ignore[arg-type]


def holds(number: int, until: float | None, team: str = "a") -> Held:
    end = None if until is None else after(until)
    return Held((Slice(f"a{number}", 1, 1024, "a-0"),), end, ONE, of(team), f"lease {number}")


def test_a_ceiling_is_free_again_when_enough_of_it_has_ended() -> None:
    ceiling = Ceiling(4000, [(1000, after(30)), (2000, after(10)), (1000, None)])
    assert [ceiling.first(gpus, NOW) for gpus in (1000, 2000, 3000, 4000)] == [
        after(10),
        after(10),
        after(30),
        None,
    ]
    assert ceiling.first(1000, after(20)) == after(20)
    ceiling.take(1000, after(50))
    assert ceiling.first(2000, NOW) == after(30)


def test_who_waits_for_a_quota_is_told_when_its_own_leases_end() -> None:
    machines, leases = campus(a100=4), [holds(0, 40), holds(1, None, "b")]
    waiting = [asks("own"), asks("other", team="b", asked=1)]
    limits = {("team", "a"): ONE, ("team", "b"): ONE}
    assert expected_starts(waiting, leases, PROFILES, machines, NOW, limits) == {"own": after(40), "other": None}
    assert startable(waiting, leases, PROFILES, machines, NOW, limits) == []


def test_training_beyond_its_quota_waits_for_those_of_its_team_whom_the_quota_keeps_back() -> None:
    machines, leases = campus(a100=4), [holds(0, 40)]
    training = asks("training", minutes=90, asked=1, bound_by=(), queue_class=TRAINING)
    notebook, limits = asks("notebook", promised=latest(after(40), NOW)), {("team", "a"): ONE}
    waiting = [notebook, training]
    starts = expected_starts(waiting, leases, PROFILES, machines, NOW, limits)
    assert starts == {"notebook": after(40), "training": after(40)}
    assert startable(waiting, leases, PROFILES, machines, NOW, limits) == []
    # what is over before that is in nobody's way; and who was promised nothing holds no room
    short = asks("short", asked=1, minutes=40, bound_by=(), queue_class=TRAINING)
    for asking in ([notebook, short], [asks("notebook"), training]):
        found = startable(asking, leases, PROFILES, machines, NOW, limits)
        assert [one.ticket for one in found] == asking[1:]
    other = asks("other", team="b", asked=2)
    assert [one.ticket.id for one in startable([*waiting, other], leases, PROFILES, machines, NOW, limits)] == [
        "other"
    ]


def test_who_was_promised_goes_first_in_its_class_and_only_when_that_is_in_danger() -> None:
    machines, leases = campus(a100=1), [holds(0, 10)]
    promised = asks("promised", team="b", team_share=9, asked=-5, promised=latest(after(10), NOW))
    newcomer, urgent = asks("newcomer"), asks("urgent", queue_class=INTERACTIVE - 1, minutes=10)
    assert [one.id for one in look_ahead([promised, newcomer], leases, PROFILES, machines, NOW).order] == [
        "promised", "newcomer",
    ]  # fmt: skip
    # with time enough for both, the least use goes first, as ever
    patient = asks("patient", team="b", team_share=9, asked=-5, promised=after(600))
    assert look_ahead([patient, newcomer], leases, PROFILES, machines, NOW).order[0].id == "newcomer"
    assert look_ahead([promised, urgent], leases, PROFILES, machines, NOW).order[0].id == "urgent"


def test_an_extension_goes_as_far_as_what_was_promised() -> None:
    machines, leases = campus(a100=1), [holds(0, 10)]
    waiting = [asks("first", promised=after(42)), asks("second", asked=1, promised=after(600))]
    found, put_off = latest_end("lease 0", after(120), waiting, leases, PROFILES, machines, NOW, {})
    assert (put_off, after(42) - FINENESS < found <= after(42)) == ([after(42)], True)
    assert latest_end("lease 0", after(30), waiting, leases, PROFILES, machines, NOW, {}) == (after(30), [])
    nobody = [asks("unknown")]
    assert latest_end("lease 0", after(120), nobody, leases, PROFILES, machines, NOW, {}) == (after(120), [])
    idle = [*leases, holds(1, 10, "b")]
    assert latest_end("lease 1", after(99), waiting, idle, PROFILES, campus(a100=2), NOW, {})[1] == []


def world_of(seed: int) -> tuple[list[Held], list[Waiting], dict[Holder, int]]:
    """Leases and tickets of two teams at random, some of whose training goes beyond their quotas."""
    world = random.Random(seed)
    names, machines = [name for name in PROFILES if GPUS[name]], campus()
    limits = {("team", team): ONE * world.randrange(1, 7) for team in "ab"}
    board, leases, used = Board(machines), [], Counter[str]()
    for _ in range(world.randrange(20)):
        name, team = world.choice(names), world.choice("ab")
        placed = board.place(PROFILES[name], Wish(team=team))
        if placed.verdict.allowed and used[team] + GPUS[name] <= limits["team", team]:
            board.take(placed.slices)
            used[team] += GPUS[name]
            leases.append(Held(placed.slices, after(world.randrange(1, 100)), GPUS[name], of(team)))
    tickets = []
    for n in range(world.randrange(1, 12)):
        level, team = world.choice((INTERACTIVE, TRAINING)), world.choice("ab")
        own = {} if level == INTERACTIVE else {"bound_by": ()}
        share = world.randrange(3)
        ask = asks(
            f"{n:02}", world.choice(names), team, world.randrange(1, 100), -n,
            queue_class=level, team_share=share, **own,
        )  # fmt: skip
        tickets.append(ask)
    return leases, tickets, limits


@pytest.mark.parametrize("early", [0.0, 0.5])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_nobody_starts_later_than_promised_whatever_their_quotas(seed: int, early: float) -> None:
    leases, tickets, limits = world_of(seed)
    world, machines, now = random.Random(seed + 1), campus(), NOW
    promised = expected_starts(tickets, leases, PROFILES, machines, NOW, limits)
    # kept as the portal keeps it: what was told binds the order from then on
    tickets = [Waiting(**{**vars(one), "promised": latest(promised[one.id], NOW)}) for one in tickets]
    started: dict[str, datetime] = {}

    def real(lease: Held) -> tuple[datetime, Held]:
        assert lease.until is not None
        left = int((lease.until - now) / timedelta(minutes=1))
        return (
            now + timedelta(minutes=world.randrange(left + 1)) if world.random() < early else lease.until
        ), lease

    running = [real(lease) for lease in leases]
    while True:
        running = [(end, lease) for end, lease in running if end > now]
        held = [lease for _, lease in running]
        for start in startable(tickets, held, PROFILES, machines, now, limits):
            one = start.ticket
            started[one.id] = now
            until = now + timedelta(seconds=one.lifetime_s or 0)
            running.append(real(Held(start.placement.slices, until, one.gpus, one.holders)))
        tickets = [one for one in tickets if one.id not in started]
        if not tickets or not running:
            break
        now = min(end for end, _ in running)
    for key, at in promised.items():
        said = latest(at, NOW)
        if said is not None:
            assert key in started, f"{key} never started, promised for {said}"
            assert started[key] <= said, f"{key} started {started[key]}, promised for {said}"
