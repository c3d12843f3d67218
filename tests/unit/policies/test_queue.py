"""Order, position and the latest start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dure_hub.catalogue.machine import Gpu
from dure_hub.policies.classes import INFERENCE, TRAINING, URGENT_INFERENCE
from dure_hub.policies.order import Waiting, order, positions
from dure_hub.policies.placement import Slice, Wish
from dure_hub.policies.queue import Held, expected_starts, startable
from tests.unit.policies.fleet import box, offered
from tests.unit.policies.grids import node, spec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def ticket(
    key: str, profile: str = "cpu", priority: int = 0, asked: float = 0, life: int | None = 3600, **more: Any
) -> Waiting:
    return Waiting(key, profile, priority, after(asked), life, **more)


def test_who_waits_is_ordered_by_class_choice_quota_use_and_time() -> None:
    line = [
        ticket("reclaims", queue_class=TRAINING, within_quota=False, reclaims=True, asked=9),
        ticket("urgent", queue_class=URGENT_INFERENCE, within_quota=False, team_share=9, asked=9),
        ticket("inference", queue_class=INFERENCE, asked=9),
        ticket("chosen", priority=1, within_quota=False, team_share=9, asked=9),
        ticket("frugal team", team_share=1, owner_share=7, asked=9),
        ticket("frugal owner", team_share=2, owner_share=1, asked=9),
        ticket("b", team_share=2, owner_share=2, asked=0),
        ticket("a", team_share=2, owner_share=2, asked=1),
        ticket("c", team_share=2, owner_share=2, asked=1),
        ticket("beyond", within_quota=False, asked=0),
        ticket("training", queue_class=TRAINING, asked=0),
    ]
    assert order(reversed(line)) == line


def test_the_position_counts_those_who_wait_for_the_same() -> None:
    waiting = [ticket("a"), ticket("b", profile="gpu-full", asked=1), ticket("c", asked=2)]
    assert positions(reversed(waiting)) == {"a": 1, "b": 1, "c": 2}


def test_the_latest_start_is_the_end_of_who_is_before_you() -> None:
    machine = box(h100=2)
    share = (machine.cores_per_gpu, machine.memory_mb_per_gpu)
    leases = [Held((Slice("h0", *share),), after(30)), Held((Slice("h1", *share),), after(50))]
    waiting = [ticket(str(n), "gpu-full", asked=n) for n in range(4)]
    starts = expected_starts(waiting, leases, offered(machine), [machine], NOW)
    # 0 after the first, 1 after the second, 2 after 0's hour, 3 after 1's hour
    assert starts == {"0": after(30), "1": after(50), "2": after(90), "3": after(110)}


def test_an_end_that_has_passed_counts_as_now() -> None:
    machine = box(h100=1)
    held = [Held((Slice("h0", machine.cores_per_gpu, machine.memory_mb_per_gpu),), after(-5))]
    assert expected_starts([ticket("a", "gpu-full")], held, offered(machine), [machine], NOW) == {"a": NOW}


def test_what_never_ends_makes_the_start_unknown() -> None:
    machine = box(h100=1)
    held = [Held((Slice("h0", machine.cores_per_gpu, machine.memory_mb_per_gpu),), None)]
    waiting = [ticket("a", "gpu-full"), ticket("b", "unknown")]
    assert expected_starts(waiting, held, offered(machine), [machine], NOW) == {"a": None, "b": None}


def test_behind_a_ticket_without_an_end_the_start_is_unknown() -> None:
    machine = box(h100=1)
    waiting = [ticket("a", "gpu-full", life=None), ticket("b", "gpu-full", asked=1)]
    assert expected_starts(waiting, [], offered(machine), [machine], NOW) == {"a": NOW, "b": None}


def test_who_may_start_now_is_placed_beside_those_before_it() -> None:
    machine = box(h100=2)
    held = [Held((Slice("h0", machine.cores_per_gpu, machine.memory_mb_per_gpu),), after(60))]
    waiting = [ticket(key, "gpu-full", asked=n) for n, key in enumerate("ab")] + [ticket("c", asked=9)]
    waiting.append(ticket("d", "away"))
    found = startable(waiting, held, offered(machine), [machine], NOW)
    assert [(one.ticket.id, one.placement.slices[0].device) for one in found] == [("a", "h1"), ("c", "cpu")]


def test_each_waits_for_the_nodes_of_its_home_and_for_nobody_who_waits_for_others() -> None:
    a, b = node(Gpu("a0", "NVIDIA H100"), name="a"), node(Gpu("b0", "NVIDIA H100"), name="b")
    card = {"card": spec("card", gpus=1)}
    leases = [Held((Slice("a0", 1, 1024, "a"),), after(30)), Held((Slice("b0", 1, 1024, "b"),), after(50))]
    waiting = [
        ticket("of a", "card", asked=0, wish=Wish(nodes=frozenset("a"))),
        ticket("of b", "card", asked=1, wish=Wish(nodes=frozenset("b"))),
        ticket("of a, too", "card", asked=2, wish=Wish(nodes=frozenset("a"))),
    ]
    starts = expected_starts(waiting, leases, card, [a, b], NOW)
    assert starts == {"of a": after(30), "of b": after(50), "of a, too": after(90)}
    anywhere = ticket("anywhere", "card", asked=9)
    (start,) = startable([*waiting, anywhere], leases[:1], card, [a, b], NOW)
    assert (start.ticket.id, start.placement.slices[0].node) == ("of b", "b")
    (start,) = startable([waiting[0], anywhere], leases[:1], card, [a, b], NOW)
    assert start.ticket.id == "anywhere", "it takes nothing from who waits for another node"
