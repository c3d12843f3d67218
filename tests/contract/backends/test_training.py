"""Training with real torchrun."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Kind, Reason, Seen
from dure_hub.backends.embedded import EmbeddedTraining
from dure_hub.operations.workfiles import tail
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


async def run(folder: Path, code: str, **changes: Any) -> tuple[Seen, str]:
    """This code's `main`, run by the real worker to its end: how it ended, and its log."""
    place = RealWorker(folder)
    (place.code / "train.py").write_text(code)
    outputs = folder / "outputs"
    outputs.mkdir()
    asked = {"entry": "train.py:main", **changes}
    handle = await place.start(place.work(Kind.JOB, outputs=outputs, **asked))
    try:
        return await place.ended(handle), (await place.training().log(handle, 0, 1 << 20)).text
    finally:
        await place.training().stop(handle, grace_s=0)


@pytest.mark.skipif(importlib.util.find_spec("dure.worker") is None, reason="needs the SDK's worker")
async def test_two_ranks_of_the_sdks_worker_add_up_over_gloo(tmp_path: Path) -> None:
    seen, log = await run(tmp_path, TRAIN, parameters={"number": 7}, processes=2)
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
    assert "total 21" in log


ENDS = [
    ("raise ValueError('no such column: petal')", 1, "ValueError: no such column: petal"),
    ("print('half of it is done'); sys.exit(3)", 3, "half of it is done"),
    ("os.kill(os.getpid(), 9)", 137, "Rank 0 was ended by SIGKILL."),
]


@pytest.mark.parametrize(("end", "code", "said"), ENDS)
async def test_what_the_code_said_is_the_last_word(tmp_path: Path, end: str, code: int, said: str) -> None:
    seen, log = await run(tmp_path, f"import os, sys\n\ndef main():\n    {end}\n", processes=1)
    assert (seen.exit_code, seen.reason) == (code, Reason.FAILED), log
    assert tail(log, 1) == said
    assert "ChildFailedError" not in log
    assert "torch/distributed/elastic/" in log, "otherwise this says nothing about the tail"


async def test_a_rank_that_fails_alone_still_has_the_last_word(tmp_path: Path) -> None:
    code = "def main(ctx):\n    if ctx.is_main:\n        raise ValueError('only here')\n    while True: pass\n"
    seen, log = await run(tmp_path, code, processes=2)
    assert (seen.exit_code, tail(log, 1)) == (1, "ValueError: only here"), log


LEAVES = """
import atexit, ctypes, sys, threading, time

def late():
    time.sleep(0.3)
    print("the thread has ended", flush=True)

left_open = open("left-open", "w")
left_open.write("and this is kept")
threading.Thread(target=late).start()
atexit.register(print, "and what was registered has run")
libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc.abort, ctypes.c_void_p), None, None)
sys.exit(0)
"""


async def test_what_goes_wrong_after_the_end_of_the_code_does_not_fail_the_job(tmp_path: Path) -> None:
    """As torch's threads do, once in a while, when the interpreter goes down: here the C library is to abort."""
    seen, log = await run(tmp_path, LEAVES, entry="train.py", processes=2)
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
    assert log.count("the thread has ended") == log.count("and what was registered has run") == 2
    assert (RealWorker(tmp_path).code / "left-open").read_text() == "and this is kept"
