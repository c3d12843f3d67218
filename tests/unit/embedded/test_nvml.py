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


def look(library: Path, **stub: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        **{f"STUB_{name.upper()}": str(value) for name, value in stub.items()},
    }
    done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, check=True)
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
