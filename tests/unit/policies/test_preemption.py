"""Who gives way to whom, to whom not, and that nobody takes back from who took from them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.catalogue.machine import Machine
from dure_hub.policies.board import Board
from dure_hub.policies.classes import INFERENCE, INTERACTIVE, TRAINING, URGENT_INFERENCE, class_of
from dure_hub.policies.preemption import (
    Asking,
    Holder,
    Preemption,
    Running,
    due_for_checkpoint,
    inside,
    preempt,
    reclaimable,
)
from dure_hub.policies.quota import thousandths
from dure_hub.policies.slices import Slice
from tests.unit.policies.queueing import GRID, campus, profiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILES = profiles()
A, B = ("team", "a"), ("team", "b")
ANN = ("user", "ann")
PURPOSES = {URGENT_INFERENCE: "serving", INFERENCE: "serving", INTERACTIVE: "notebook", TRAINING: "training"}


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def gpu(
    n: int,
    queue_class: int = TRAINING,
    holder: Holder = A,
    ran: float = 60,
    *,
    purpose: str | None = None,
    preemptible: bool = True,
    ending: bool = False,
) -> Running:
    """A lease of the n-th A100 of the campus."""
    piece = Slice(f"a{n}", 1, 1024, f"a-{n // 4 * 4}")
    purpose = purpose or PURPOSES[queue_class]
    return Running(f"l{n}", (piece,), queue_class, purpose, holder, ago(ran), 1000, preemptible, ending)


def ask(profile: str = "a100-x1", queue_class: int = INFERENCE, holder: Holder = B) -> Asking:
    spec = PROFILES[profile]
    return Asking("t", spec, queue_class, holder, thousandths(spec, GRID))


def decide(
    asking: Asking, leases: list[Running], quotas: dict[Holder, int | None] | None = None, a100: int = 4
) -> Preemption:
    """By these quotas; without them, all that team a holds is beyond its own."""
    board = Board(campus(a100=a100), [piece for lease in leases for piece in lease.slices])
    return preempt(asking, leases, {A: 0} if quotas is None else quotas, board, NOW)


def names(found: Preemption) -> list[str]:
    return sorted(lease.id for lease in found.victims)


def test_the_classes_of_the_purposes() -> None:
    assert class_of("serving", urgent=True) == URGENT_INFERENCE
    assert class_of("serving") == INFERENCE
    assert class_of("notebook") == class_of("training", fine_tuning=True) == INTERACTIVE
    assert class_of("training") == class_of("schedule", urgent=True) == TRAINING
    with pytest.raises(ValueError, match="nonsense"):
        class_of("nonsense")


def test_the_newest_of_the_lowest_class_gives_way() -> None:
    leases = [gpu(0, TRAINING, ran=50), gpu(1, TRAINING, ran=40), gpu(2, INTERACTIVE, ran=35), gpu(3, INFERENCE)]
    found = decide(ask(), leases)
    assert (found.verdict.code, names(found)) == ("reclaims", ["l1"])
    assert found.verdict.facts["victims"] == ["l1"]
    assert found.verdict.facts["notice_s"] == 120


def test_who_just_began_is_left_alone_until_a_time_that_is_said() -> None:
    leases = [gpu(n, ran=20 + n) for n in range(4)]
    found = decide(ask(), leases)
    assert (found.verdict.code, found.victims) == ("too_new_to_reclaim", ())
    assert found.verdict.facts["at"] == (ago(20) + timedelta(minutes=30)).isoformat()


@pytest.mark.parametrize(
    ("lease", "code"),
    [
        (gpu(0, TRAINING), "inside_quota"),
        (gpu(0, INTERACTIVE), "inside_quota"),
        (gpu(0, URGENT_INFERENCE), "inside_quota"),
        (gpu(0, TRAINING, holder=ANN), "beyond_quota"),
        (gpu(0, TRAINING, holder=ANN, preemptible=False), "not_preemptible"),
        (gpu(0, TRAINING, holder=ANN, ending=True), "ending"),
        (gpu(0, TRAINING, holder=ANN, ran=29), "ran_too_little"),
        (gpu(0, INTERACTIVE, holder=ANN), "beyond_quota"),
        (gpu(0, INFERENCE, holder=ANN), "serves"),
    ],
)
def test_who_may_be_told_to_end_for_a_model_server(lease: Running, code: str) -> None:
    asking = ask(queue_class=INFERENCE)
    within = inside([lease], {ANN: 0}, asking)
    assert reclaimable(lease, asking, within, NOW).code == code


@pytest.mark.parametrize(
    ("queue_class", "code"), [(INFERENCE, "no_better_claim"), (TRAINING, "no_better_claim"), (0, "beyond_quota")]
)
def test_of_two_beyond_their_quotas_only_a_higher_class_takes(queue_class: int, code: str) -> None:
    asking, lease = ask(queue_class=queue_class), gpu(0, INFERENCE, purpose="training")
    within = inside([lease], {A: 0, B: 0}, asking)
    assert reclaimable(lease, asking, within, NOW).code == code


def test_a_higher_class_beyond_its_quota_takes_from_nobody_inside() -> None:
    leases = [gpu(n, TRAINING) for n in range(4)]
    assert decide(ask(queue_class=URGENT_INFERENCE), leases, {A: 4000, B: 0}).verdict.code == "nothing_to_reclaim"
    assert names(decide(ask(queue_class=URGENT_INFERENCE), leases, {A: 3000, B: 0})) == ["l3"]


def test_inside_its_quota_even_training_gets_back_what_notebooks_hold_beyond_theirs() -> None:
    leases = [gpu(n, INTERACTIVE, ran=90 - n) for n in range(4)]
    assert names(decide(ask(queue_class=TRAINING), leases, {A: 2000, B: 1000})) == ["l3"]
    assert decide(ask(queue_class=TRAINING), leases, {A: 4000, B: 1000}).verdict.code == "nothing_to_reclaim"


def test_a_team_s_own_notebook_takes_from_its_training_when_the_quota_is_full() -> None:
    leases = [gpu(n, TRAINING, ran=90 - n) for n in range(4)]
    assert names(decide(ask(queue_class=INTERACTIVE, holder=A), leases, {A: 4000})) == ["l3"]


def test_what_is_beyond_goes_and_not_what_is_inside_however_old() -> None:
    leases = [gpu(0, ran=9000, holder=ANN), *(gpu(n, ran=31) for n in (1, 2, 3))]
    assert names(decide(ask(), leases, {ANN: 0})) == ["l0"]


def test_several_gpus_are_taken_from_the_node_that_costs_least() -> None:
    leases = [gpu(n, INTERACTIVE if n == 1 else TRAINING, ran=100) for n in range(4)]
    leases += [gpu(n, TRAINING, ran=100 + n) for n in range(4, 8)]
    found = decide(ask("a100-x4"), leases, a100=8)
    assert names(found) == ["l4", "l5", "l6", "l7"]
    assert names(decide(ask("a100-x2"), leases[4:], a100=8)) == []  # the other node is free


def test_nobody_is_told_twice_for_the_same_ticket() -> None:
    leases = [gpu(0, ending=True), *(gpu(n) for n in (1, 2, 3))]
    assert decide(ask(), leases).verdict.code == "room_is_coming"
    assert names(decide(ask("a100-x2"), leases)) == ["l1"]
    assert decide(ask(), leases[1:]).verdict.code == "fits"


def test_a_smaller_lease_behind_what_does_not_fit_fills_the_quota() -> None:
    leases = [replace(gpu(0, ran=90), gpus=1500), replace(gpu(1, ran=80), gpus=1000), replace(gpu(2), gpus=500)]
    assert inside(leases, {A: 2000}) == {"l0", "l2"}
    assert inside(leases, {A: None}) == inside(leases, {}) == {"l0", "l1", "l2"}


@pytest.mark.parametrize(("ran_s", "code"), [(86399, "within_longest"), (86400, "ran_longest")])
def test_training_over_a_day_gives_others_their_turn(ran_s: int, code: str) -> None:
    verdict = due_for_checkpoint(NOW - timedelta(seconds=ran_s), NOW)
    assert verdict.code == code
    assert verdict.allowed == (code == "ran_longest")


class World:
    """Random leases, quotas and a ticket on a small campus."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.machines: list[Machine] = campus(a100=4, per_node=2, dynamic=1, cut=0, shared=1)
        self.names = [name for name in PROFILES if name not in {"a100-x4", "cpu", "cpu-big"}]
        self.board = Board(self.machines)
        self.quotas: dict[Holder, int | None] = {
            holder: self.random.choice([None, 0, 500, 1000, 2000, 3000]) for holder in (A, B, ANN)
        }
        self.leases: dict[str, Running] = {}
        self.tickets: dict[str, Asking] = {}
        self.asked = 0
        for _ in range(self.random.randrange(5, 30)):
            one = self.ask()
            placed = self.board.place(one.profile)
            if placed.verdict.allowed:
                self.grant(one, ago(self.random.randrange(600)))

    def ask(self) -> Asking:
        """A ticket of anybody for anything."""
        self.asked += 1
        spec = PROFILES[self.random.choice(self.names)]
        holder = self.random.choice([A, B, ANN])
        return Asking(f"{self.asked:03}", spec, self.random.randrange(4), holder, thousandths(spec, GRID))

    def grant(self, one: Asking, at: datetime) -> None:
        """It gets what it asked for."""
        placed = self.board.place(one.profile)
        assert placed.verdict.allowed, placed.verdict
        self.board.take(placed.slices)
        purpose = PURPOSES[one.queue_class]
        self.tickets[one.id] = one
        self.leases[one.id] = Running(one.id, placed.slices, one.queue_class, purpose, one.holder, at, one.gpus)

    def end(self, lease: Running) -> Asking:
        """It ends, and waits again."""
        del self.leases[lease.id]
        self.board.give_back(lease.slices)
        return self.tickets[lease.id]

    def decide(self, one: Asking, now: datetime) -> Preemption:
        """What may be reclaimed for it."""
        return preempt(one, list(self.leases.values()), self.quotas, self.board, now)


seeds = st.integers(0, 10**9)


@settings(max_examples=300, deadline=None)
@given(seed=seeds)
def test_nobody_is_told_to_end_in_vain_or_unasked_for(seed: int) -> None:
    world = World(seed)
    one = world.ask()
    before = {name: world.board.count(PROFILES[name]) for name in world.names}
    found = world.decide(one, NOW)
    assert before == {name: world.board.count(PROFILES[name]) for name in world.names}
    assert found.verdict.allowed == bool(found.victims)
    within = inside(world.leases.values(), world.quotas, one)
    for lease in found.victims:
        assert reclaimable(lease, one, within, NOW).allowed
    for spared in [None, *found.victims] if found.victims else []:
        gone = [lease for lease in found.victims if lease is not spared]
        for lease in gone:
            world.board.give_back(lease.slices)
        assert world.board.place(one.profile).verdict.allowed == (spared is None)
        for lease in gone:
            world.board.take(lease.slices)


@settings(max_examples=300, deadline=None)
@given(seed=seeds)
def test_whoever_was_told_to_end_takes_nothing_back_from_who_took_it(seed: int) -> None:
    world = World(seed)
    one = world.ask()
    found = world.decide(one, NOW)
    if not found.victims:
        return
    again = [world.end(lease) for lease in found.victims]
    world.grant(one, NOW)
    later = NOW + timedelta(hours=9)  # the shortest run protects nobody any more
    for victim in again:
        assert one.id not in {lease.id for lease in world.decide(victim, later).victims}


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_taking_comes_to_an_end_when_nobody_new_asks(seed: int) -> None:
    """Everybody who was told to end asks again at once, and none is protected by having begun just now."""
    world = World(seed)
    waiting = [world.ask() for _ in range(10)]
    now, taken = NOW, 0
    moved = True
    while moved:
        moved = False
        for one in sorted(waiting, key=lambda one: (one.queue_class, one.id)):
            now += timedelta(hours=1)
            found = world.decide(one, now)
            if found.verdict.code not in {"fits", "reclaims"}:
                continue
            waiting += [world.end(lease) for lease in found.victims]
            waiting.remove(one)
            world.grant(one, now)
            taken += len(found.victims)
            moved = True
            assert taken <= 300, "they take from each other for ever"
