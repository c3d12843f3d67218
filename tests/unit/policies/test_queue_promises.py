"""A start promised "at the latest" is kept whatever ends early, and looking ahead is quick."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.board import Board
from dure_hub.policies.contention import Contention
from dure_hub.policies.order import Waiting, order
from dure_hub.policies.queue import Held, expected_starts, startable
from dure_hub.policies.slices import Slice, Wish
from tests.unit.policies.queueing import campus, profiles, spec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILES = profiles()
NAMES = list(PROFILES)
TEAMS = ("a", "b")


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def start_of(world: random.Random, names: list[str], *, endless: bool) -> tuple[list[Held], list[Waiting]]:
    """Leases and tickets at random."""
    machines = campus()
    board = Board(machines)
    leases = []
    for _ in range(world.randrange(40)):
        name = world.choice(names)
        placed = board.place(PROFILES[name], Wish(team=world.choice(TEAMS)))
        if placed.verdict.allowed:
            board.take(placed.slices)
            never = endless and world.random() < 0.2
            leases.append(Held(placed.slices, None if never else after(world.randrange(1, 100))))
    tickets = [
        Waiting(
            f"{n:02}",
            world.choice(names),
            0,
            after(-n),
            None if endless and world.random() < 0.1 else 60 * world.randrange(1, 100),
            queue_class=world.randrange(4),
            team_share=world.randrange(3),
            wish=Wish(team=world.choice(TEAMS)),
        )
        for n in range(world.randrange(1, 16))
    ]
    return leases, tickets


def live(world: random.Random, leases: list[Held], tickets: list[Waiting], early: float) -> dict[str, datetime]:
    """What really happens: everybody who may start does, and leases end at random before their time."""
    machines, now = campus(), NOW
    started: dict[str, datetime] = {}

    def real(lease: Held) -> tuple[datetime, Held]:
        if lease.until is None:
            return datetime.max.replace(tzinfo=UTC), lease
        left = (lease.until - now) / timedelta(minutes=1)
        cut = world.randrange(int(left) + 1) if world.random() < early else left
        return now + timedelta(minutes=cut), lease

    running = [real(lease) for lease in leases]
    while True:
        running = [(end, lease) for end, lease in running if end > now]
        held = [lease for _, lease in running]
        for start in startable(tickets, held, PROFILES, machines, now):
            started[start.ticket.id] = now
            life = start.ticket.lifetime_s
            until = None if life is None else now + timedelta(seconds=life)
            running.append(real(Held(start.placement.slices, until)))
        tickets = [one for one in tickets if one.id not in started]
        ends = [end for end, lease in running if lease.until is not None]
        if not tickets or not ends:
            return started
        now = min(ends)


def kept(seed: int, names: list[str], early: float, *, endless: bool = False) -> None:
    """Live through one world, and see that nobody started later than promised."""
    world = random.Random(seed)
    leases, tickets = start_of(world, names, endless=endless)
    promised = expected_starts(tickets, leases, PROFILES, campus(), NOW)
    started = live(world, leases, tickets, early)
    for ticket in order(tickets):
        latest = promised[ticket.id]
        if latest is not None:
            assert ticket.id in started, f"{ticket} never started, promised for {latest}"
            assert started[ticket.id] <= latest, f"{ticket} started {started[ticket.id]}, promised for {latest}"


seeds = st.integers(0, 10**9)
kinds = st.sampled_from(
    [
        NAMES,
        [name for name in NAMES if name.startswith("a100")],
        [name for name in NAMES if name.startswith("mig")],
        [name for name in NAMES if name.startswith("share")],
        ["cpu", "cpu-big"],
        ["a100-x1"],
    ]
)


@settings(max_examples=150, deadline=None)
@given(seed=seeds, names=kinds, early=st.sampled_from([0.0, 0.3, 1.0]))
def test_nobody_starts_later_than_promised(seed: int, names: list[str], early: float) -> None:
    kept(seed, names, early)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, names=kinds)
def test_leases_without_an_end_break_no_promise(seed: int, names: list[str]) -> None:
    kept(seed, names, 0.5, endless=True)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_whole_gpus_one_each_start_exactly_when_promised(seed: int) -> None:
    world = random.Random(seed)
    leases, tickets = start_of(world, ["a100-x1"], endless=False)
    promised = expected_starts(tickets, leases, PROFILES, campus(), NOW)
    assert live(world, leases, tickets, 0.0) == promised


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_nobody_takes_more_room_from_others_than_is_said(seed: int) -> None:
    world, machines = random.Random(seed), campus()
    board, rivals = Board(machines), Contention(machines)
    for _ in range(30):
        own, other = PROFILES[world.choice(NAMES)], PROFILES[world.choice(NAMES)]
        mine, theirs = Wish(team=world.choice(TEAMS)), Wish(team=world.choice(TEAMS))
        placed = board.place(own, mine)
        if placed.verdict.allowed:
            fitted = board.count(other, theirs)
            board.take(placed.slices)
            assert fitted - board.count(other, theirs) <= rivals.hits(own, other, mine, theirs)


def test_a_request_for_several_is_not_starved_by_small_ones() -> None:
    machines = campus(a100=4)
    leases = [Held((Slice(f"a{n}", 1, 1024, "a-0"),), after(10 * n + 10)) for n in range(4)]
    waiting = [Waiting("big", "a100-x4", 0, after(-5), 3600)]
    waiting += [Waiting(f"small-{n}", "a100-x1", 0, after(-4 + n), 3600) for n in range(3)]
    assert expected_starts(waiting, leases, PROFILES, machines, NOW)["big"] == after(40)
    # three are free: an hour each would delay the big one, twenty minutes would not
    now = after(20)
    assert startable(waiting, leases[2:], PROFILES, machines, now) == []
    short = Waiting("short", "a100-x1", 0, after(15), 20 * 60)
    assert [one.ticket for one in startable([*waiting, short], leases[2:], PROFILES, machines, now)] == [short]


def test_who_wants_other_gpus_is_not_held_back() -> None:
    machines = campus(a100=1)
    leases = [Held((Slice("a0", 1, 1024, "a-0"),), after(10))]
    waiting = [Waiting("first", "a100-x1", 0, NOW, None), Waiting("second", "cpu", 0, after(1), None)]
    assert [one.ticket.id for one in startable(waiting, leases, PROFILES, machines, NOW)] == ["second"]


def test_who_cannot_start_for_want_of_an_end_holds_nobody_back() -> None:
    machines = campus(a100=4)
    leases = [Held((Slice("a0", 1, 1024, "a-0"),), None)]
    waiting = [Waiting("big", "a100-x4", 0, NOW, 60), Waiting("small", "a100-x1", 0, after(1), None)]
    assert expected_starts(waiting, leases, PROFILES, machines, NOW) == {"big": None, "small": NOW}
    assert [one.ticket.id for one in startable(waiting, leases, PROFILES, machines, NOW)] == ["small"]


class Counted(dict[str, ProfileSpec]):
    """Profiles that count how often they are asked for."""

    times = 0

    def __getitem__(self, name: str) -> ProfileSpec:
        self.times += 1
        return super().__getitem__(name)


def asked_for(owners: int) -> int:
    """How often, where one asks for four, three are free, and so many others ask for one for too long each."""
    leases = [Held((Slice("a0", 1, 1024, "a-0"),), after(60))]
    waiting = [Waiting("big", "a100-x4", 0, NOW, 3600)]
    waiting += [
        Waiting(f"{n:03}", "a100-x1", 0, after(1 + n), 7200, wish=Wish(team=f"owner {n}")) for n in range(owners)
    ]
    counted = Counted(PROFILES)
    assert startable(waiting, leases, counted, campus(a100=4), NOW) == []
    return counted.times


def test_who_asks_for_the_same_is_reckoned_once_whoever_they_are() -> None:
    assert asked_for(400) < 3 * asked_for(200), "else it grows with the square of those who wait"


def test_teams_that_may_not_share_a_gpu_are_told_apart() -> None:
    """A whole GPU waits for a holder of a share; another share of that team beside it delays nobody."""
    machines = campus(a100=0, dynamic=0, cut=0, shared=2)
    leases = [Held((Slice("s0", 1, 1024, "s", share=250, team="b"),), after(60))]
    leases.append(Held((Slice("s1", 1, 1024, "s", share=250, team="c"),), after(10)))
    waiting = [
        Waiting("big", "rtx", 0, NOW, 3600),
        *(Waiting(f"of {team}", "share-250", 0, after(1), 1800, wish=Wish(team=team)) for team in "abc"),
    ]
    offered = {**PROFILES, "rtx": spec("rtx", gpus=1, gpu_model="RTX")}
    found = startable(waiting, leases, offered, machines, NOW)
    assert [one.ticket.id for one in found] == ["of b"]


def test_two_hundred_tickets_on_a_campus_are_a_matter_of_milliseconds() -> None:
    """Not asserted (timings never are), but printed: run with -s."""
    world, machines = random.Random(1), campus(a100=12, dynamic=8, cut=0, shared=4)
    board = Board(machines)
    leases = []
    for _ in range(400):
        placed = board.place(PROFILES[world.choice(NAMES)])
        if placed.verdict.allowed:
            board.take(placed.slices)
            leases.append(Held(placed.slices, after(world.randrange(1, 480))))
    tickets = [Waiting(f"{n:03}", world.choice(NAMES), 0, after(-n), 28800) for n in range(200)]
    began = time.perf_counter()
    starts = expected_starts(tickets, leases, PROFILES, machines, NOW)
    looked = time.perf_counter()
    startable(tickets, leases, PROFILES, machines, NOW)
    print(
        f"{len(leases)} leases: {looked - began:.3f} s, and {time.perf_counter() - looked:.3f} s for who may start"
    )
    assert len(starts) == 200
    assert all(starts.values())
