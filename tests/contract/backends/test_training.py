"""Training with real torchrun."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Kind, Reason
from dure_hub.backends.embedded import EmbeddedTraining
from tests.contract.backends.kit import EmbeddedPlace, Place

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch (DURE_TORCH=none left it out)"
)

TRAIN = """
import torch
import torch.distributed as dist

def main(number):
    mine = dist.is_initialized()
    if not mine:
        dist.init_process_group("gloo")
    total = torch.tensor([number * (dist.get_rank() + 1)])
    dist.all_reduce(total)
    if dist.get_rank() == 0:
        print("total", total.item(), flush=True)
    if not mine:
        dist.destroy_process_group()
"""


async def test_every_rank_runs_the_worker_with_its_place_in_the_world(place: Place) -> None:
    work = place.work(Kind.JOB, "exit 0", processes=2)
    handle = await place.start(work)
    seen = await place.ended(handle)
    log = (await place.training().log(handle, 0, 1 << 20)).text
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
    for rank in range(2):
        assert f'"RANK": "{rank}", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "' in log
    assert log.count(work.lease) == 2


class RealWorker(EmbeddedPlace):
    def training(self) -> EmbeddedTraining:
        return EmbeddedTraining(self.settings)


@pytest.mark.skipif(importlib.util.find_spec("dure.worker") is None, reason="needs the SDK's worker")
async def test_two_ranks_of_the_sdks_worker_add_up_over_gloo(tmp_path: Path) -> None:
    place = RealWorker(tmp_path)
    (place.code / "train.py").write_text(TRAIN)
    changes: dict[str, Any] = {"entry": "train.py:main", "parameters": {"number": 7}, "processes": 2}
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    handle = await place.start(place.work(Kind.JOB, outputs=outputs, **changes))
    try:
        seen = await place.ended(handle)
        log = (await place.training().log(handle, 0, 1 << 20)).text
        assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
        assert "total 21" in log
    finally:
        await place.training().stop(handle, grace_s=0)
