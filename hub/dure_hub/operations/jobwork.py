"""A job in the words of the backend and of MLflow."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from datetime import datetime

from dure_hub.backends.base import TrainingWork
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations import admission
from dure_hub.operations.jobfiles import JobFolder
from dure_hub.operations.profiles import Fleet
from dure_hub.operations.workfiles import common_environment
from dure_hub.settings import Settings
from dure_hub.store.models import Job, Lease

RUN_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


def work_of(
    settings: Settings, job: Job, lease: Lease, python: str | None = None, shared: Sequence[str] = ()
) -> TrainingWork:
    """What the backend starts. The token is in its file, never in the environment. `python` is its owner's own,
    and `shared` names the shared folders that they are admitted to.
    """
    folder = JobFolder(settings, job.id)
    return TrainingWork(
        lease=lease.id,
        owner=job.owner,
        folder=folder.code,
        environment=environment(settings, job, folder, python),
        devices=admission.visible(lease),
        mps=admission.mps(lease),
        cores=admission.cores(lease),
        memory_mb=admission.memory_mb(lease),
        shared=shared,
        entry=job.entry,
        parameters=job.parameters,
        processes=job.processes,
        outputs=folder.outputs,
        token_file=folder.token,
        python=python,
    )


def environment(settings: Settings, job: Job, folder: JobFolder, python: str | None = None) -> dict[str, str]:
    """The whole environment of a job."""
    return {
        **common_environment(settings, job.owner, folder, python),
        "DURE_JOB": job.name,
        "MLFLOW_RUN_ID": job.run_id or "",
    }


def device_of(fleet: Fleet, lease: Lease) -> str:
    """Where a job computes, as people say it: `cpu`, or the GPU's name."""
    held = admission.devices(lease)
    models = {gpu.uuid: gpu.model for node in fleet.machines for gpu in node.gpus}
    return models.get(held[0], held[0]) if held else "cpu"


async def make_run(mlflow: MlflowApi, job: Job, now: datetime) -> str:
    """The MLflow run of a job, in its owner's name: the one made before a crash, or a new one."""
    session = mlflow.acting(job.owner)
    experiment = await session.experiment(f"{job.owner}/{job.experiment}")
    found = await session.find_run(experiment, "dure.job_id", job.id)
    return found or await session.create_run(experiment, job.name, run_tags(job), _milliseconds(now))


async def end_run(mlflow: MlflowApi, job: Job) -> None:
    """Tell MLflow how a job ended; also where the portal died between making the run and noting its id."""
    session = mlflow.acting(job.owner)
    run_id = job.run_id
    if run_id is None:
        experiment = await session.experiment(f"{job.owner}/{job.experiment}")
        run_id = await session.find_run(experiment, "dure.job_id", job.id)
    if run_id is not None and job.ended_at is not None:
        await session.end_run(run_id, RUN_STATUS[job.state], _milliseconds(job.ended_at))


def run_tags(job: Job) -> dict[str, str]:
    """What a run says of the job behind it."""
    tags = {
        "mlflow.user": job.owner,
        "mlflow.source.name": job.entry,
        "mlflow.source.type": "JOB",
        "dure.job": job.name,
        "dure.job_id": job.id,
        "dure.owner": job.owner,
        "dure.snapshot": job.snapshot,
        "dure.entry": job.entry,
        "dure.profile": job.profile,
        "dure.device": job.device or "",
        "dure.processes": str(job.processes or ""),
        "dure.git_commit": job.git_commit or "",
        "mlflow.source.git.commit": job.git_commit or "",
    }
    return {key: value for key, value in tags.items() if value}


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; the number where Python knows no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
