"""Ports, records, and the gaps in what one machine can do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dure.errors import Unsupported
from dure_hub.backends.base import Feature, ServingWork, TrainingWork, Work
from dure_hub.backends.embedded import EmbeddedInventory, EmbeddedServing, EmbeddedTraining, gaps, ports, processes
from dure_hub.backends.embedded.records import RunFolder, run_folders
from dure_hub.backends.embedded.runs import environment_of
from dure_hub.settings import Settings


def test_a_port_that_is_listened_on_or_recorded_is_not_given() -> None:
    free = ports.free_port(set())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free))
        listening.listen()
        assert not ports.is_free(free)
        everything_else = set(range(ports.LOW, ports.HIGH)) - {free}
        with pytest.raises(OSError, match="no free port"):
            ports.free_port(everything_else)
    everything_else = set(range(ports.LOW, ports.HIGH)) - {free}
    assert ports.free_port(everything_else) == free


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "600"])
    record = processes.identity(processes.find(child.pid) or pytest.fail("not found"))
    assert processes.find_recorded(record) is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet buried
    try:
        assert processes.find(child.pid) is None
        assert processes.find_recorded(record) is None
    finally:
        child.wait()


@pytest.mark.parametrize("lease", ["../up", "a/b", "", ".draft", "x" * 65, "a\nb"])
def test_what_cannot_name_a_folder_is_refused(tmp_path: Path, lease: str) -> None:
    with pytest.raises(ValueError, match="run folder"):
        RunFolder(tmp_path, lease)


def test_a_record_that_a_power_cut_emptied_reads_as_missing(tmp_path: Path) -> None:
    place = tmp_path / "server"
    folder = RunFolder(place, "L1")
    assert folder.read("spec") is None
    folder.create({"port": 1}, {"job.json": b"{}"})
    assert folder.read("spec") == {"port": 1}
    assert folder.read("job") == {}
    (folder.path / "exit.json").write_text("")
    assert folder.read("exit") is None


def test_a_start_that_was_cut_short_leaves_no_run(tmp_path: Path) -> None:
    place = tmp_path / "server"
    RunFolder(place, "L1").create({}, {})
    (place / ".L2.draft").mkdir()
    assert [folder.lease for folder in run_folders(place)] == ["L1"]
    RunFolder(place, "L2").create({}, {})
    assert [folder.lease for folder in run_folders(place)] == ["L1", "L2"]


def test_missing_torch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what the import system takes for: not there
    text = gaps.without_torch(Feature.TRAINING)[Feature.TRAINING]
    for language in ("en", "ko"):
        assert "DURE_TORCH=none" in text[language]
        assert "make up" in text[language]


def test_without_torch_no_job_and_no_model_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    settings = Settings(data=tmp_path)
    with pytest.raises(Unsupported, match="DURE_TORCH=none"):
        EmbeddedTraining(settings).start(TrainingWork("L", "ana", tmp_path, {}))
    with pytest.raises(Unsupported, match="DURE_TORCH=none"):
        EmbeddedServing(settings).start(ServingWork("L", "ana", tmp_path, {}))


async def test_the_inventory_says_what_there_is_or_why_not(tmp_path: Path) -> None:
    backend = EmbeddedInventory(Settings(data=tmp_path))
    inventory = await backend.look()
    assert inventory.cpu_cores >= 1
    assert inventory.memory_mb > 0
    assert bool(inventory.devices) == (inventory.why_no_gpu is None)
    assert (Feature.GPU in backend.unsupported) == (not inventory.devices)
    assert {Feature.MIG, Feature.GPU_SHARING} <= set(backend.unsupported)


@pytest.mark.parametrize(
    ("mps", "found"),
    [
        (None, {}),
        (
            (250, 20480),
            {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25", "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=20480M"},
        ),
        ((333, None), {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "33.3"}),
    ],
)
def test_a_holder_of_a_share_is_kept_to_it_by_mps(
    tmp_path: Path, mps: tuple[int, int | None] | None, found: dict[str, str]
) -> None:
    work = Work("lease", "ana", tmp_path, {"A": "b"}, ("GPU-1",), mps)
    assert environment_of(work) == {"A": "b", "CUDA_VISIBLE_DEVICES": "GPU-1", **found}
