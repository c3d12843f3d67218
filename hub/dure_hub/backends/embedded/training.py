"""Training jobs as processes of this machine, under torchrun."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from dure_hub.backends.base import Feature, Handle, Kind, TrainingBackend, TrainingWork
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import EmbeddedRuns, environment_of, is_real, places_of
from dure_hub.settings import Settings

CPU_PROCESSES = 2
"""Ranks on CPU where nobody said: enough to be distributed, few enough for a small machine."""


class EmbeddedTraining(EmbeddedRuns, TrainingBackend):
    """One torchrun a job. Its ranks read what to do from the file that DURE_JOB_FILE names."""

    kind: ClassVar[Kind] = Kind.JOB

    def __init__(self, settings: Settings, worker: str = "dure.worker") -> None:
        super().__init__(settings)
        self.worker = worker
        self.unsupported = {**self.unsupported, **gaps.MULTI_NODE, **gaps.without_torch(Feature.TRAINING)}

    def start(self, work: TrainingWork) -> AsyncIterator[Handle]:
        """As the interface says."""
        self.refuse(Feature.TRAINING)
        processes = count_processes(work)
        file = self.runner.shown(work.lease) / "job.json"
        job = json.dumps(make_job(work, processes), indent=1).encode()
        defaults = {"OMP_NUM_THREADS": str(threads_each(processes)), "PYTHONUNBUFFERED": "1"}
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=make_command(processes, self.worker, work.python),
                cwd=work.folder,
                environment={**defaults, **environment_of(work), "DURE_JOB_FILE": str(file)},
                files={"job.json": job},
                own=places_of(work.folder, work.outputs, work.token_file, environment=work.environment),
                cores=work.cores,
                memory_mb=work.memory_mb,
                shared=work.shared,
            )
        )


def count_processes(work: TrainingWork) -> int:
    """One rank a GPU, and never two on one (NCCL refuses that); on CPU as many as asked for, else two."""
    if work.devices:
        return min(work.processes or len(work.devices), len(work.devices))
    return work.processes or CPU_PROCESSES


def threads_each(processes: int) -> int:
    """Threads for each rank, so that the ranks together do not ask for more cores than there are."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


def make_command(processes: int, worker: str, python: str | None = None) -> list[str]:
    """torchrun on this machine alone, under the SDK's launcher; it finds itself a port. Ranks get its Python."""
    launcher = [python or sys.executable, "-m", "dure.launch", "--standalone", "--nnodes=1"]
    return [*launcher, f"--nproc-per-node={processes}", "-m", worker]


def make_job(work: TrainingWork, processes: int) -> dict[str, Any]:
    """What the worker reads."""
    return {
        "entry": work.entry,
        "parameters": dict(work.parameters),
        "outputs": str(work.outputs),
        "token_file": str(work.token_file) if work.token_file else None,
        "device": "cuda" if any(map(is_real, work.devices)) else "cpu",
        "processes": processes,
    }
