"""How a job's command and its file are made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dure_hub.backends.base import TrainingWork
from dure_hub.backends.embedded import training


def work(**changes: object) -> TrainingWork:
    common = {"lease": "L", "owner": "ann", "folder": Path("/code"), "environment": {}, "entry": "train.py:main"}
    return TrainingWork(**{**common, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("devices", "asked", "processes"),
    [((), None, 2), ((), 3, 3), (("GPU-1",), None, 1), (("GPU-1", "GPU-2"), 4, 2), (("GPU-1", "GPU-2"), 1, 1)],
)
def test_ranks_follow_the_devices(devices: tuple[str, ...], asked: int | None, processes: int) -> None:
    assert training.count_processes(work(devices=devices, processes=asked)) == processes


def test_ranks_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert training.threads_each(1) == cores
    assert training.threads_each(cores * 4) == 1


def test_the_command_is_torchrun_on_this_machine() -> None:
    assert training.make_command(2, "dure.worker") == [
        sys.executable,
        *("-m", "dure.launch", "--standalone", "--nnodes=1", "--nproc-per-node=2", "-m", "dure.worker"),
    ]


def test_the_file_says_what_to_run() -> None:
    job = work(parameters={"epochs": 3}, outputs=Path("/out"), token_file=Path("/token"), devices=("GPU-1",))
    assert training.make_job(job, 1) == {
        "entry": "train.py:main",
        "parameters": {"epochs": 3},
        "outputs": "/out",
        "token_file": "/token",
        "device": "cuda",
        "processes": 1,
    }
    assert training.make_job(work(), 2)["device"] == "cpu"
    assert training.make_job(work(), 2)["token_file"] is None


def test_a_simulated_gpu_is_computed_on_the_cpu() -> None:
    for uuid in ("GPU-sim-0123456789abcdef", "MIG-sim-0123456789abcdef"):
        assert training.make_job(work(devices=(uuid,)), 1)["device"] == "cpu"
