"""The NVML adapter through the real pynvml, against a small C library in NVML's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.embedded import gaps, nvml
from tests.unit.embedded.conftest import Ask

LOOK = """
import dataclasses, json
from dure_hub.backends.embedded import nvml
print(json.dumps(dataclasses.asdict(nvml.look())))
"""
READ = """
import dataclasses, json
from dure_hub.backends.embedded import nvml
print(json.dumps(dataclasses.asdict(nvml.read(60.0))))
"""
FIRST, SECOND = (f"GPU-00000000-0000-0000-0000-{index:012}" for index in range(2))


def test_gpus_are_found_with_what_they_say(ask: Ask) -> None:
    found = ask(LOOK, gpus=2)
    assert found["why_none"] is None
    assert [(one["uuid"], one["mig_mode"]) for one in found["devices"]] == [(FIRST, True), (SECOND, False)]
    for device in found["devices"]:
        assert device["name"] == "NVIDIA Stub"
        assert device["memory_mb"] == 81559
        assert device["driver"] == "580.65.06"
        assert device["key"] is None, "it is in no catalogue"
        assert device["instances"] == []
        assert device["carves"] is False


def test_a_gpu_is_known_by_its_pci_id_and_not_by_its_name(ask: Ask) -> None:
    devices = ask(LOOK, kinds="h100,a100,4090")["devices"]
    assert [device["pci_device"] for device in devices] == [0x2330, 0x20B2, 0x2684]
    assert all(device["key"] for device in devices)
    assert [device["mig_mode"] for device in devices] == [False, False, None]


def test_what_a_gpu_does_not_say_is_unknown(ask: Ask) -> None:
    (device,) = ask(LOOK, gpus=1, plain=1)["devices"]
    for field in ("memory_mb", "mig_mode", "pci_device", "key"):
        assert device[field] is None


def test_a_gpu_that_fell_off_the_bus_hides_no_other(ask: Ask) -> None:
    (device,) = ask(LOOK, gpus=2, lost=0)["devices"]
    assert device["uuid"] == SECOND


def test_gpus_that_reach_each_other_by_nvlink_are_one_group(ask: Ask) -> None:
    groups = [one["group"] for one in ask(LOOK, kinds="4090,h100,h100,4090", nvlink=1)["devices"]]
    assert groups == ["", "nvlink-1", "nvlink-1", ""]


def test_without_links_and_with_mig_on_there_is_no_group(ask: Ask, tmp_path: Any) -> None:
    (tmp_path / "mig").touch()
    assert {one["group"] for one in ask(LOOK, kinds="h100,h100")["devices"]} == {""}
    assert {one["group"] for one in ask(LOOK, kinds="h100,h100", nvlink=1, mig=tmp_path / "mig")["devices"]} == {
        ""
    }


@pytest.mark.parametrize(
    ("stub", "why"),
    [({}, None), ({"pending": 1}, nvml.ROWS_PENDING), ({"failed": 1, "pending": 1}, nvml.ROWS_FAILED)],
)
def test_a_sick_gpu_says_what_is_wrong(ask: Ask, stub: dict[str, int], why: dict[str, str] | None) -> None:
    sick, other = ask(LOOK, kinds="h100,4090", **stub)["devices"]
    assert sick["health"] == why
    assert sick["usable"] is ("failed" not in stub), "what waits for a reset works until then"
    assert (other["health"], other["usable"]) == (None, True)


@pytest.mark.parametrize("code", [3, 13])
def test_a_gpu_or_driver_that_knows_no_mig_has_none(ask: Ask, code: int) -> None:
    (device,) = ask(LOOK, kinds="h100", mode=code)["devices"]
    assert (device["mig_mode"], device["usable"], device["health"]) == (None, True, None)


def test_a_gpu_whose_mig_mode_cannot_be_read_is_given_to_nobody(ask: Ask) -> None:
    (device,) = ask(LOOK, kinds="h100", mode=999)["devices"]
    assert (device["mig_mode"], device["usable"], device["health"]) == (None, False, gaps.MODE_UNKNOWN)
    reading = ask(READ, kinds="h100", mode=999)["devices"][FIRST]
    assert reading["utilisation"] is None, "with MIG on, what the driver says of the whole means nothing"


def test_with_mig_on_and_no_grid_known_it_says_so(ask: Ask) -> None:
    (device,) = ask(LOOK, gpus=1)["devices"]
    assert (device["mig_mode"], device["key"], device["health"]) == (True, None, gaps.NO_GRID)


@pytest.mark.parametrize(("init", "why"), [(9, nvml.NO_DRIVER), (12, nvml.NO_LIBRARY), (4, nvml.NO_PERMISSION)])
def test_why_there_is_no_gpu_is_a_sentence(ask: Ask, init: int, why: dict[str, str]) -> None:
    assert ask(LOOK, gpus=2, init=init) == {"devices": [], "why_none": why}


def test_an_error_unheard_of_is_named(ask: Ask) -> None:
    why = ask(LOOK, init=999)["why_none"]
    assert set(why) == {"en", "ko"}
    assert "Unknown Error" in why["en"] or "999" in why["en"]


def test_a_driver_without_a_gpu_says_so(ask: Ask) -> None:
    assert ask(LOOK, gpus=0) == {"devices": [], "why_none": nvml.NO_DEVICE}


def test_a_gpu_is_read_in_shares_degrees_and_watts(ask: Ask) -> None:
    assert ask(READ, gpus=2)["devices"][SECOND] == {
        "memory_used_mb": 2048,
        "utilisation": 0.37,
        "temperature_c": 41.0,
        "power_w": 71.25,
    }


@pytest.mark.parametrize("says", [{}, {"mig_says": 0}, {"mig_says": 100}])
def test_with_mig_on_the_utilisation_is_unknown_whatever_the_driver_answers(
    ask: Ask, says: dict[str, int]
) -> None:
    reading = ask(READ, gpus=1, **says)["devices"][FIRST]
    assert reading["utilisation"] is None
    assert reading["temperature_c"] == 41.0


def test_what_a_gpu_does_not_measure_is_unknown_and_never_zero(ask: Ask) -> None:
    assert set(ask(READ, gpus=2, plain=1)["devices"][SECOND].values()) == {None}
    assert ask(READ, gpus=2, empty=1)["devices"][SECOND]["memory_used_mb"] is None


def test_a_lost_gpu_is_missing_and_without_a_driver_there_is_no_reading(ask: Ask) -> None:
    assert set(ask(READ, gpus=2, lost=0)["devices"]) == {SECOND}
    assert ask(READ, gpus=2, init=9) == {"devices": {}, "instances": {}, "processes": {}}


def test_who_computes_is_told_with_how_much_and_when(ask: Ask) -> None:
    samples = "1:11:40:500,1:12:3:20500,1:11:20:1500,1:13:90:120000,0:14:50:10,1:15:0:10"
    found = ask(READ, kinds="h100,h100", samples=samples, running="1:11:300,1:16:-1,0:14:5")["processes"]
    first, second = found[FIRST], found[SECOND]
    last = second["samples"][0]["at"]
    seen = [(one["pid"], one["busy"], round(last - one["at"], 3)) for one in second["samples"]]
    assert [one for one in seen if one[0] != 15] == [(11, 0.4, 0), (12, 0.03, 20), (11, 0.2, 1)], "not of long ago"
    assert [one["busy"] for one in second["samples"] if one["pid"] == 15] == [0.0]
    assert second["at"] - 60 < last < second["at"] + 60
    assert second["memory"] == {"11": 300 << 20, "16": None}
    assert [(one["pid"], one["busy"]) for one in first["samples"]] == [(14, 0.5)]


def test_nobody_computing_is_told_apart_from_not_being_told(ask: Ask, tmp_path: Path) -> None:
    def asked(**stub: object) -> Any:
        found = ask(READ, kinds="h100", **stub)["processes"][FIRST]
        return found["samples"], found["memory"]

    assert asked() == ([], {})
    assert asked(sampling=3) == (None, {})
    assert asked(sampling=999) == (None, {})
    assert asked(plain=1) == (None, None)
    (tmp_path / "mig").touch()
    assert asked(mig=tmp_path / "mig") == (None, None)
    assert asked(mode=999, samples="0:11:40:500") == (None, None), "MIG may be on"


def test_who_begins_to_compute_meanwhile_is_asked_for_again(ask: Ask) -> None:
    def samples(grows: int) -> Any:
        return ask(READ, kinds="h100", samples="0:11:40:500", grows=grows)["processes"][FIRST]["samples"]

    assert [one["busy"] for one in samples(2)] == [0.4]
    assert samples(9) is None


def test_what_cannot_be_is_not_a_measure(ask: Ask) -> None:
    (sample,) = ask(READ, kinds="h100", samples="0:11:4096:500")["processes"][FIRST]["samples"]
    assert sample["busy"] is None
