"""MIG by NVML: what there is, how busy it is, making and removing; the stand-in keeps the hardware's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import MigDevice
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.nvmlmig import by_size
from dure_hub.catalogue import gpus, grids
from dure_hub.operations.machines import blocked_of, instances_of
from tests.unit.embedded.conftest import Ask
from tests.unit.embedded.test_nvml import FIRST, LOOK, READ, SECOND

TWO = "0 9 4 1 3\n0 19 0 7 1\n"
"""On the first GPU: 3g at 4, number 1; 1g at 0, number 7."""
DO = """
import asyncio, json
from dure.errors import DureError
from dure_hub.backends.embedded import EmbeddedInventory
from dure_hub.catalogue.machine import MigInstance
from dure_hub.settings import Settings
backend = EmbeddedInventory(Settings(data="unused"))
made = []
try:
    for verb, mig, start in {steps}:
        if verb == "make":
            made.append(asyncio.run(backend.make("{gpu}", mig, start)).uuid)
        else:
            asyncio.run(backend.remove("{gpu}", MigInstance(mig, start)))
    why = None
except DureError as error:
    why = error.facts["why"]
print(json.dumps([made, why, [str(feature) for feature in backend.unsupported]]))
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The instances of the stand-in's GPUs."""
    file = tmp_path / "mig"
    file.write_text(TWO)
    return file


def uuid(gpu: int, number: int) -> str:
    return f"MIG-00000000-0000-0000-{gpu:04}-{number:012}"


def do(ask: Ask, state: Path, *steps: tuple[str, str, int], gpu: str = FIRST, **stub: object) -> Any:
    stub = {"kinds": "h100,a100", "mig": state, **stub}
    return ask(DO.format(steps=list(steps), gpu=gpu), **stub)


def test_instances_are_seen_with_their_profile_and_place(ask: Ask, state: Path) -> None:
    first, second = ask(LOOK, kinds="h100,a100", mig=state)["devices"]
    assert [(one["uuid"], one["profile"], one["start"], one["size"]) for one in first["instances"]] == [
        (uuid(0, 1), "3g.40gb", 4, 4),
        (uuid(0, 7), "1g.10gb", 0, 1),
    ]
    assert [one["memory_mb"] for one in first["instances"]] == [40448, 9984]
    assert (first["carves"], second["carves"], second["instances"]) == (True, True, [])


def test_who_may_not_see_places_still_sees_profiles(ask: Ask, state: Path) -> None:
    first, _ = ask(LOOK, kinds="h100,a100", mig=state, user=1)["devices"]
    assert first["carves"] is False
    assert [(one["profile"], one["start"], one["size"]) for one in first["instances"]] == [
        ("3g.40gb", None, None),
        ("1g.10gb", None, None),
    ]


def test_hidden_places_are_told_apart_by_any_that_fit_together(ask: Ask, state: Path) -> None:
    state.write_text("0 19 6 7 1\n0 19 4 8 1\n0 9 0 2 3\n0 19 5 3 1\n")
    (first,) = ask(LOOK, kinds="h100", mig=state, user=1)["devices"]
    model = gpus.by_key(first["key"])
    assert model is not None
    assert model.grid is not None
    seen = [MigDevice(**one) for one in first["instances"]]
    given = instances_of(seen, model.grid)
    assert sorted(one.uuid or "" for one in given) == sorted(one.uuid or "" for one in seen)
    units: set[int] = set()
    for one in given:
        profile = model.grid.named(one.profile)
        assert profile is not None
        assert one.start in profile.starts
        own = set(range(one.start, one.start + profile.size))
        assert units.isdisjoint(own)
        units |= own
    assert given == instances_of(list(reversed(seen)), model.grid), "in whatever order the driver lists them"


def test_half_an_instance_takes_its_place_and_a_part_of_one_is_nobodys(ask: Ask, state: Path) -> None:
    state.write_text("0 14 2 3 0\n0 9 4 1 1\n")  # 2g without a compute instance; 1c.3g
    (first,) = ask(LOOK, kinds="h100", mig=state)["devices"]
    assert [(one["uuid"], one["profile"], one["start"]) for one in first["instances"]] == [
        (uuid(0, 1), None, 4),
        (None, "2g.20gb", 2),
    ]
    assert [(one["start"], one["size"]) for one in first["instances"]] == [(4, 4), (2, 2)]


def test_what_the_catalogue_has_no_name_for_takes_its_place_with_and_without_its_other_half(
    ask: Ask, state: Path
) -> None:
    state.write_text("0 77 4 1 1\n0 77 2 2 0\n0 19 0 3 1\n")
    (first,) = ask(LOOK, kinds="h100", mig=state)["devices"]
    assert [(one["uuid"], one["profile"], one["start"], one["size"]) for one in first["instances"]] == [
        (uuid(0, 1), None, 4, 2),
        (uuid(0, 3), "1g.10gb", 0, 1),
        (None, None, 2, 2),
    ]
    seen = tuple(MigDevice(**one) for one in first["instances"])
    assert blocked_of(seen, grids.H100_80) == {2, 3, 4, 5}


def test_a_part_that_somebody_cut_by_hand_is_never_taken_for_the_whole(ask: Ask, state: Path) -> None:
    state.write_text("0 9 4 1 1\n")  # 1c.3g
    assert do(ask, state, ("make", "3g.40gb", 4))[:2] == [[], gaps.CUT_BY_HAND]
    assert state.read_text() == "0 9 4 1 1\n"


def test_hopper_measures_its_instances_and_ampere_does_not(ask: Ask, state: Path) -> None:
    state.write_text(TWO + "1 14 0 3 2\n")
    read = ask(READ, kinds="h100,a100,4090", mig=state)
    assert read["instances"] == {
        uuid(0, 1): {"memory_used_mb": 256, "utilisation": 0.2, "temperature_c": None, "power_w": None},
        uuid(0, 7): {"memory_used_mb": 1792, "utilisation": 1.0, "temperature_c": None, "power_w": None},
        uuid(1, 3): {"memory_used_mb": 768, "utilisation": None, "temperature_c": None, "power_w": None},
    }
    # three sevenths at 20 % and one at 100 %: together 23 % of the whole
    assert read["devices"][FIRST]["utilisation"] == pytest.approx(1.6 / 7, abs=1e-3)
    assert read["devices"][SECOND]["utilisation"] is None


def test_a_measure_without_a_value_is_unknown(ask: Ask, state: Path) -> None:
    read = ask(READ, kinds="h100", mig=state, no_value=1)
    assert {one["utilisation"] for one in read["instances"].values()} == {None}
    assert read["devices"][FIRST]["utilisation"] is None


def test_an_instance_is_made_where_it_was_asked_for_and_removed_again(ask: Ask, state: Path) -> None:
    made, why, unsupported = do(ask, state, ("make", "2g.20gb", 2))
    assert (made, why) == ([uuid(0, 8)], None)
    assert "mig" not in unsupported
    assert state.read_text() == TWO + "0 14 2 8 2\n"
    assert do(ask, state, ("remove", "2g.20gb", 2), ("remove", "2g.20gb", 2))[1] is None
    assert state.read_text() == TWO


def test_making_what_is_there_takes_it_as_it_is(ask: Ask, state: Path) -> None:
    made, why, _ = do(ask, state, ("make", "3g.40gb", 4), ("make", "3g.40gb", 4))
    assert (made, why) == ([uuid(0, 1)] * 2, None)
    assert state.read_text() == TWO


def test_what_a_crash_left_half_made_is_finished(ask: Ask, state: Path) -> None:
    state.write_text("0 14 2 3 0\n")
    assert do(ask, state, ("make", "2g.20gb", 2))[:2] == [[uuid(0, 3)], None]
    assert state.read_text() == "0 14 2 3 2\n"


def test_no_half_stays_where_the_other_cannot_be_made(ask: Ask, state: Path) -> None:
    made, why, _ = do(ask, state, ("make", "2g.20gb", 2), no_compute=1)
    assert (made, why) == ([], gaps.MIG_TAKEN)
    assert state.read_text() == TWO


@pytest.mark.parametrize(
    ("step", "stub", "why"),
    [
        (("make", "4g.40gb", 0), {}, gaps.MIG_TAKEN),
        (("make", "2g.20gb", 2), {"user": 1}, gaps.MIG_NEEDS_RIGHT),
        (("remove", "3g.40gb", 4), {"busy": 1}, gaps.IN_USE),
        (("remove", "3g.40gb", 4), {"user": 1}, gaps.MIG_NEEDS_RIGHT),
    ],
)
def test_a_refusal_is_a_sentence_and_changes_nothing(
    ask: Ask, state: Path, step: tuple[str, str, int], stub: dict[str, Any], why: dict[str, str]
) -> None:
    assert do(ask, state, step, **stub)[:2] == [[], why]
    assert state.read_text() == TWO


def test_a_place_that_is_not_legal_never_reaches_the_driver(ask: Ask, state: Path) -> None:
    _, why, _ = do(ask, state, ("make", "2g.20gb", 6))
    assert "only at 0, 2, 4" in why["en"]
    assert "1g.10gb" in do(ask, state, ("make", "1g.5gb", 0))[1]["en"]


def test_a_gpu_without_mig_is_not_cut(ask: Ask, state: Path) -> None:
    _, why, unsupported = do(ask, state, ("make", "1g.10gb", 0), kinds="4090")
    assert why == gaps.MIG_OFF
    assert "mig" in unsupported


def test_the_a30_has_four_units(ask: Ask, state: Path) -> None:
    state.write_text("")
    made, why, _ = do(ask, state, ("make", "2g.12gb", 2), ("make", "1g.6gb", 0), kinds="a30")
    assert (len(made), why) == (2, None)
    (device,) = ask(LOOK, kinds="a30", mig=state)["devices"]
    assert [(one["profile"], one["start"], one["size"]) for one in device["instances"]] == [
        ("2g.12gb", 2, 2),
        ("1g.6gb", 0, 1),
    ]


def test_the_size_of_an_instance_tells_its_profile(ask: Ask) -> None:
    model = gpus.by_pci(0x2330)
    assert model is not None
    assert model.grid is not None
    found = {
        (compute, memory, flow): by_size(model.grid, compute, memory, flow)
        for compute, memory, flow in [(1, 9984, False), (1, 9984, True), (1, 20096, False), (7, 81152, True)]
    }
    assert [profile.name if profile else None for profile in found.values()] == [
        "1g.10gb",
        "1g.10gb+me",
        "1g.20gb",
        "7g.80gb",
    ]
    assert by_size(model.grid, 5, 9984, False) is None
    assert by_size(model.grid, 1, None, False) is None, "two of them have one compute slice"
