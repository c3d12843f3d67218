"""What code in a training job gets: which rank it is, where to compute, and where results go.

    import dure

    ctx = dure.context()
    model = ctx.wrap(model)                      # on the job's device; DistributedDataParallel with several ranks
    ctx.log(step=epoch, loss=loss)               # buffered; a tracking server that is away never stops training
    ctx.save_model(model, example_input=rows[:2], classes=[...])

Outside of a job the same code runs as a single rank on the CPU, and what it saves lies under `./outputs`.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from dure.tracking import Tracker

_current: Context | None = None


@dataclass
class Context:
    """One rank of a job. `device` is what torch takes: "cpu" or "cuda:<n>"."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: str = "cpu"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Path = Path("outputs")
    tracker: Tracker | None = None
    _asked: bool = False
    _watched: bool = False

    @property
    def stopping(self) -> bool:
        """True once the job was asked to stop: save a checkpoint and return within 25 seconds.

        Code that looks at this is left to end by itself; code that never does is ended at once.
        """
        self._watched = True
        return self._asked

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the one that logs and saves."""
        return self.rank == 0

    @property
    def backend(self) -> str:
        """How ranks talk to each other: gloo on CPU, nccl on GPU."""
        return "nccl" if self.device.startswith("cuda") else "gloo"

    def log(self, step: int | None = None, **metrics: float) -> None:
        """Record metrics; only rank 0 does. Returns at once, and tracking that is away never raises."""
        if self.tracker is not None and self.is_main:
            self.tracker.log(step, metrics)

    def wrap(self, model: Any) -> Any:
        """The model on this job's device, and in DistributedDataParallel where there are several ranks.

        Buffers (BatchNorm's running mean, say) stay each rank's own while it trains, so that one rank may evaluate
        alone; those of rank 0 are saved.
        """
        moved = model.to(self.device)
        if self.world_size == 1:
            return moved
        from torch.nn.parallel import DistributedDataParallel

        self.join()
        devices = [self.local_rank] if self.backend == "nccl" else None
        # What torch before 2.13 calls broadcast_buffers; a later one warns of that name in every job's log.
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        apart: dict[str, Any] = {name: False}
        return DistributedDataParallel(moved, device_ids=devices, **apart)

    def join(self) -> None:
        """Let the ranks find each other. `wrap` does it; call it yourself for collectives without it."""
        from torch import distributed

        if self.world_size == 1 or distributed.is_initialized():
            return
        if self.backend == "nccl":
            import torch

            torch.cuda.set_device(self.local_rank)
        elif os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
            # Every rank is on this machine: a host name that does not resolve must not matter.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group(self.backend)

    def should_stop(self) -> bool:
        """Whether any rank was asked to stop. Every rank must call it at the same place, as any collective."""
        asked = self.stopping
        if self.world_size == 1:
            return asked
        import torch

        self.join()
        flag = torch.tensor([float(asked)], device=self.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def save_model(
        self, module: Any, example_input: Any, *, classes: Sequence[Any] | None = None, name: str = "model"
    ) -> Path | None:
        """Save the model so that it can be registered and served; rank 0 does it, the others go on.

        `example_input` is a batch of rows: an array or a tensor. With `classes` the endpoint answers with the
        class of the highest output of a row, without them with the outputs themselves. The graph is exported by
        torch.export; nothing in it needs pickle. Also kept as `outputs/<name>`.
        """
        if not self.is_main:
            return None
        from dure.saving import save

        run_id = self.tracker.run_id if self.tracker is not None else None
        return save(module, example_input, self.outputs / name, classes=classes, name=name, run_id=run_id)

    def save_checkpoint(self, state: Mapping[str, Any], name: str = "latest") -> None:
        """Write `state` (tensors, numbers, texts, lists, dicts) whole or not at all; rank 0 only."""
        if self.is_main:
            from dure.checkpoint import save

            save(state, self.outputs / "checkpoints" / f"{name}.pt")

    def load_checkpoint(self, name: str = "latest") -> dict[str, Any] | None:
        """The last state saved by this job, on the CPU; None where there is none."""
        from dure.checkpoint import load

        return load(self.outputs / "checkpoints" / f"{name}.pt")

    def close(self) -> None:
        """Send what is still buffered and leave the group of ranks. The worker calls it at the end."""
        if self.tracker is not None:
            self.tracker.close()
        if self.world_size > 1:
            from torch import distributed

            if distributed.is_initialized():
                distributed.destroy_process_group()


def context() -> Context:
    """The context of this rank; the same one at every call."""
    global _current
    if _current is None:
        file = os.environ.get("DURE_JOB_FILE")
        _current = from_job_file(Path(file)) if file else Context(tracker=Tracker(Path("outputs"), None, None))
        _current.outputs.mkdir(parents=True, exist_ok=True)
    return _current


def from_job_file(file: Path) -> Context:
    """Read what the backend wrote for this job. The token goes into this process's environment only."""
    job = json.loads(file.read_text())
    if token_file := job.get("token_file"):
        os.environ["MLFLOW_TRACKING_TOKEN"] = Path(token_file).read_text().strip()
        os.environ["DURE_TOKEN_FILE"] = str(token_file)
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    outputs = Path(job["outputs"])
    uri, run_id = os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("MLFLOW_RUN_ID")
    return Context(
        rank=rank,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=local,
        device=f"cuda:{local}" if job.get("device") == "cuda" else "cpu",
        parameters=job.get("parameters") or {},
        outputs=outputs,
        tracker=Tracker(outputs, uri, run_id) if rank == 0 else None,
    )


def watch_for_stop(current: Context) -> None:
    """From now on SIGTERM sets `stopping`; it ends the process only where the code never looks at that."""

    def asked(_signal: int, _frame: FrameType | None) -> None:
        current._asked = True
        if not current._watched:
            raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, asked)
