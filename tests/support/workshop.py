"""Jobs, models and endpoints of a portal without its services: real store, real processes, real reconciler."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from dure_hub.backends.base import Handle, TrainingWork
from dure_hub.backends.embedded import (
    EmbeddedExecutions,
    EmbeddedInventory,
    EmbeddedServing,
    EmbeddedTraining,
    FolderArtifacts,
)
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import environment_of
from dure_hub.backends.embedded.training import make_job
from dure_hub.dataplane import Dataplane
from dure_hub.mlflowapi import MlflowApi
from dure_hub.operations.endpoints import Endpoints
from dure_hub.operations.jobs import Jobs
from dure_hub.operations.models import Models
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.reconcile import Reconciler, Subject
from dure_hub.operations.schedules import Schedules
from dure_hub.operations.snapshots import Snapshots
from dure_hub.operations.tokens import Tokens
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url, system_clock
from dure_hub.store.migrate import migrate
from tests.support.zips import zipped

T = TypeVar("T")


class OneRank(EmbeddedTraining):
    """The real backend with the real worker, but without torchrun, which needs seconds to import torch."""

    def start(self, work: TrainingWork) -> AsyncIterator[Handle]:
        """As `EmbeddedTraining.start`."""
        folder = self.runner.folder(work.lease)
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                command=[sys.executable, "-m", "dure.worker"],
                cwd=work.folder,
                environment={**environment_of(work), "DURE_JOB_FILE": str(folder.path / "job.json")},
                files={"job.json": json.dumps(make_job(work, 1)).encode()},
            )
        )


@dataclass
class Workshop:
    """Everything a test of jobs, models and endpoints touches."""

    settings: Settings
    store: Store
    training: EmbeddedTraining
    serving: EmbeddedServing
    mlflow: MlflowApi
    dataplane: Dataplane
    snapshots: Snapshots
    tokens: Tokens
    jobs: Jobs
    models: Models
    endpoints: Endpoints
    executions: EmbeddedExecutions
    schedules: Schedules
    reconciler: Reconciler

    async def upload(self, files: Mapping[str, str]) -> str:
        """A snapshot of these files; its digest."""
        digest, content = zipped(files)

        async def stream() -> AsyncIterator[bytes]:
            yield content

        await self.snapshots.put(digest, stream())
        return digest

    async def until(self, look: Callable[[], Awaitable[T]], what: str, timeout: float = 60) -> T:
        """Let the reconciler look until `look` gives something truthy."""
        deadline = time.monotonic() + timeout
        while True:
            await self.reconciler.look()
            found = await look()
            if found:
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout} s: {what} (last: {found!r})")
            await asyncio.sleep(0.05)


def workshop_settings(data: Path, mlflow: Settings | None = None, **more: object) -> Settings:
    """A data folder that is ready, with MLflow's socket in it if there is an MLflow."""
    values = {"data": data, "instance": os.urandom(6).hex(), "job_grace_s": 3, "stop_grace_s": 3}
    values |= {"memory_reserved_mb": 0, "cpu_profile_memory_mb": 64, "cpu_profile_cores": 0.1, **more}
    settings = Settings.model_validate(values)
    settings.folder.create()
    settings.save()
    if mlflow is not None:
        (settings.folder.run / "mlflow.sock").symlink_to(mlflow.folder.run / "mlflow.sock")
    migrate(settings)
    return settings


@asynccontextmanager
async def workshop(
    settings: Settings, serving: EmbeddedServing | None = None, executions: EmbeddedExecutions | None = None
) -> AsyncIterator[Workshop]:
    """The operations over this data folder. Leaving it is what a killed portal leaves: processes go on."""
    executions = executions or EmbeddedExecutions(settings)
    store = Store(database_url(settings))
    clock = system_clock(settings.folder.root / "clock")
    profiles = Profiles(settings, store, clock, EmbeddedInventory(settings))
    training, mlflow = OneRank(settings), MlflowApi(settings)
    serving = serving or EmbeddedServing(settings)
    snapshots, tokens, dataplane = (
        Snapshots(settings, FolderArtifacts(settings)),
        Tokens(store, clock),
        Dataplane(settings),
    )
    jobs = Jobs(settings, store, clock, profiles, snapshots, tokens, training, mlflow)
    models = Models(store, clock, mlflow)
    endpoints = Endpoints(settings, store, clock, profiles, serving, mlflow, dataplane)
    schedules = Schedules(settings, store, clock, profiles, snapshots, tokens, executions)
    subjects: list[Subject] = [jobs.subject, endpoints.subject, schedules.subject]
    reconciler = Reconciler(settings, store, clock, profiles, subjects)
    made = Workshop(
        settings=settings,
        store=store,
        training=training,
        serving=serving,
        mlflow=mlflow,
        dataplane=dataplane,
        snapshots=snapshots,
        tokens=tokens,
        jobs=jobs,
        models=models,
        endpoints=endpoints,
        executions=executions,
        schedules=schedules,
        reconciler=reconciler,
    )
    try:
        yield made
    finally:
        await jobs.subject.close()
        await endpoints.subject.close()
        await schedules.subject.close()
        await reconciler.close()
        await mlflow.close()
        store.close()


async def end_all(settings: Settings) -> None:
    """Stop every process that a test left."""
    for backend in (OneRank(settings), EmbeddedServing(settings), EmbeddedExecutions(settings)):
        for seen in await backend.seen():
            await backend.stop(seen.handle, 0)
