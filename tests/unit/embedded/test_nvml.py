"""The NVML adapter through the real pynvml, against a small C library in NVML's place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.embedded import nvml

LOOK = """
import dataclasses, json
from dure_hub.backends.embedded import nvml
print(json.dumps(dataclasses.asdict(nvml.look())))
"""
READ = """
import dataclasses, json
from dure_hub.backends.embedded import nvml
print(json.dumps({uuid: dataclasses.asdict(reading) for uuid, reading in nvml.read().items()}))
"""
FIRST, SECOND = (f"GPU-00000000-0000-0000-0000-{index:012}" for index in range(2))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds libnvidia-ml.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler, to build a stand-in for NVIDIA's library")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stub.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def look(library: Path, code: str = LOOK, **stub: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        **{f"STUB_{name.upper()}": str(value) for name, value in stub.items()},
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def test_gpus_are_found_with_what_they_say(library: Path) -> None:
    found = look(library, gpus=2)
    assert found["why_none"] is None
    assert found["devices"] == [
        {
            "uuid": f"GPU-00000000-0000-0000-0000-{index:012}",
            "name": "NVIDIA Stub",
            "memory_mb": 81559,
            "driver": "580.65.06",
            "mig_mode": index == 0,
        }
        for index in range(2)
    ]


def test_what_a_gpu_does_not_say_is_unknown(library: Path) -> None:
    (device,) = look(library, gpus=1, plain=1)["devices"]
    assert device["memory_mb"] is None
    assert device["mig_mode"] is None


def test_a_gpu_that_fell_off_the_bus_hides_no_other(library: Path) -> None:
    (device,) = look(library, gpus=2, lost=0)["devices"]
    assert device["uuid"].endswith("1")


@pytest.mark.parametrize(("init", "why"), [(9, nvml.NO_DRIVER), (12, nvml.NO_LIBRARY), (4, nvml.NO_PERMISSION)])
def test_why_there_is_no_gpu_is_a_sentence(library: Path, init: int, why: dict[str, str]) -> None:
    assert look(library, gpus=2, init=init) == {"devices": [], "why_none": why}


def test_an_error_unheard_of_is_named(library: Path) -> None:
    why = look(library, init=999)["why_none"]
    assert set(why) == {"en", "ko"}
    assert "Unknown Error" in why["en"] or "999" in why["en"]


def test_a_driver_without_a_gpu_says_so(library: Path) -> None:
    assert look(library, gpus=0) == {"devices": [], "why_none": nvml.NO_DEVICE}


def test_a_gpu_is_read_in_shares_degrees_and_watts(library: Path) -> None:
    assert look(library, READ, gpus=2)[SECOND] == {
        "memory_used_mb": 2048,
        "utilisation": 0.37,
        "temperature_c": 41.0,
        "power_w": 71.25,
    }


@pytest.mark.parametrize("says", [{}, {"mig_says": 0}, {"mig_says": 100}])
def test_with_mig_on_the_utilisation_is_unknown_whatever_the_driver_answers(
    library: Path, says: dict[str, int]
) -> None:
    reading = look(library, READ, gpus=1, **says)[FIRST]
    assert reading["utilisation"] is None
    assert reading["temperature_c"] == 41.0


def test_what_a_gpu_does_not_measure_is_unknown_and_never_zero(library: Path) -> None:
    assert set(look(library, READ, gpus=2, plain=1)[SECOND].values()) == {None}
    assert look(library, READ, gpus=2, empty=1)[SECOND]["memory_used_mb"] is None


def test_a_lost_gpu_is_missing_and_without_a_driver_there_is_no_reading(library: Path) -> None:
    assert set(look(library, READ, gpus=2, lost=0)) == {SECOND}
    assert look(library, READ, gpus=2, init=9) == {}
