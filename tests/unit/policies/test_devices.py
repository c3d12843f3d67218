"""What a GPU is, and how much notice its holders get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dure_hub.catalogue.machine import Gpu, Machine, closing, opened
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.catalogue.xids import is_fatal
from dure_hub.policies.board import Board
from dure_hub.policies.devices import NOTICE, State, drain_by, settled, state_of
from dure_hub.policies.slices import Slice

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("closures", "held", "state"),
    [
        ([], True, State.HEALTHY),
        ([("outside", "outside")], False, State.OUTSIDE),
        ([("cordon", "cordon"), ("outside", "outside")], True, State.CORDONED),
        ([("cordon", "drain")], True, State.DRAINING),
        ([("cordon", "drain")], False, State.DRAINED),
        ([("cordon", "drain"), ("fault", "xid")], True, State.UNHEALTHY),
    ],
)
def test_a_gpu_is_called_by_what_weighs_most(closures: list[tuple[str, str]], held: bool, state: State) -> None:
    assert state_of(closures, held=held) is state


def test_one_look_alone_settles_nothing() -> None:
    assert settled([], ["a"]) == frozenset()
    assert settled(["a"], ["b"]) == frozenset()
    assert settled(["a", "b"], ["b"]) == {"b"}


def test_a_drain_gives_ten_minutes_unless_it_is_meant() -> None:
    assert drain_by(None, NOW, at_once=False).facts["by"] == (NOW + NOTICE).isoformat()
    late = NOW + timedelta(hours=3)
    assert drain_by(late, NOW, at_once=False).facts["by"] == late.isoformat()
    soon = drain_by(NOW + NOTICE - timedelta(seconds=1), NOW, at_once=False)
    assert (soon.allowed, soon.facts["earliest"]) == (False, (NOW + NOTICE).isoformat())
    assert drain_by(NOW - timedelta(days=1), NOW, at_once=True).facts["by"] == NOW.isoformat()


@pytest.mark.parametrize("xid", [48, 79, 95, 119])
def test_an_xid_that_nvidia_answers_with_a_reset_is_the_gpus(xid: int) -> None:
    assert is_fatal(xid)


@pytest.mark.parametrize("xid", [0, 13, 31, 43, 45, 63, 94])
def test_an_application_error_is_not_the_gpus(xid: int) -> None:
    assert not is_fatal(xid)


def _whole(gpus: int = 1) -> ProfileSpec:
    return ProfileSpec("gpu", {}, {}, 1.0, 100, 3600, 3600, gpus, "H100", None, None)


CPU = ProfileSpec("cpu", {}, {}, 1.0, 100, 3600, 3600)


def test_a_closed_gpu_is_there_and_given_to_nobody() -> None:
    node = Machine(16, 1600, (Gpu("a", "H100"), Gpu("b", "H100")), "n")
    shut = closing(node, {"a"})
    board = Board([shut])
    assert (board.count(_whole()), board.total(_whole())) == (1, 2)
    board.take(board.place(_whole()).slices)
    refused = board.place(_whole()).verdict
    assert (refused.code, refused.facts["total"]) == ("no_gpu_free", 2), "waiting helps: it may come back"
    assert board.place(_whole(2)).verdict.code == "no_gpu_free"
    assert opened(shut) == node
    assert closing(node, {"c"}) is node


def test_what_a_closed_gpu_is_given_back_is_not_free() -> None:
    board = Board([closing(Machine(16, 1600, (Gpu("a", "H100"),), "n"), {"a"})])
    held = Slice("a", 1.0, 100, "n")
    board.take([held])
    board.give_back([held])
    assert board.count(_whole()) == 0


def test_a_closed_gpu_keeps_its_part_of_the_cores_from_others() -> None:
    node = Machine(16, 1600, (Gpu("a", "H100"), Gpu("b", "H100")), "n")
    assert Board([closing(node, {"a", "b"})]).count(CPU) == Board([node]).count(CPU)
