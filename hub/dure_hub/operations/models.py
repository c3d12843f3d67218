"""Registered models: MLflow's registry, entered through jobs, so that every version knows where it came from."""

from __future__ import annotations

import asyncio
import builtins
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import Conflict, DureError, NotAllowed, Text
from dure_hub.mlflowapi import MlflowApi, Run, mapping
from dure_hub.operations.jobs import find
from dure_hub.operations.people import Person
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Job

CHAMPION, CHALLENGER = "champion", "challenger"
"""The aliases that serving sets."""
LINEAGE = "dure."
"""Where a version comes from is written under these tags."""
_AT_ONCE = 8  # MLflow on SQLite has one worker; more requests at a time only wait there


class NoSavedModel(DureError):
    """The job ended well but saved nothing that could be registered."""

    code, status = "no_saved_model", 409
    message: ClassVar[Text] = {
        "en": "The job {job} saved no model.",
        "ko": "작업 {job}이(가) 저장한 모델이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Call `ctx.save_model(...)` (or `mlflow.pytorch.log_model`) in its code and run it again.",
        "ko": "코드에서 `ctx.save_model(...)`(또는 `mlflow.pytorch.log_model`)을 호출하고 다시 실행하세요.",
    }


class JobNotSucceeded(DureError):
    """Only what a finished job saved is registered."""

    code, status = "job_not_succeeded", 409
    message: ClassVar[Text] = {
        "en": "The job {job} is {state}; only what a succeeded job saved can be registered.",
        "ko": "작업 {job}의 상태는 {state}입니다. 성공한 작업의 모델만 등록할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait for it with `job.wait()`, or register another job's model.",
        "ko": "`job.wait()`로 끝나기를 기다리거나 다른 작업의 모델을 등록하세요.",
    }


class ModelTaken(Conflict):
    """The name of a model belongs to somebody else."""

    code, status = "model_taken", 409
    message: ClassVar[Text] = {
        "en": "The model {name} is somebody else's; only its owner adds versions to it.",
        "ko": "모델 {name}은(는) 다른 사람의 것입니다. 소유자만 버전을 추가할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {"en": "Register under another name.", "ko": "다른 이름으로 등록하세요."}


class ReservedTag(DureError):
    """A tag that only the portal writes."""

    code, status = "reserved_tag", 422
    message: ClassVar[Text] = {
        "en": "The tag {tag} is not accepted: under names that begin with {prefix} the portal writes where a "
        "version comes from.",
        "ko": "태그 {tag}은(는) 쓸 수 없습니다. {prefix}으로 시작하는 이름은 버전의 출처를 남기는 데 "
        "포털만 사용합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose another name for the tag. Nothing was registered.",
        "ko": "태그 이름을 바꾸세요. 등록된 것은 없습니다.",
    }


class Models:
    """Register, list, name."""

    def __init__(self, store: Store, clock: Clock, mlflow: MlflowApi) -> None:
        self._store, self._clock, self._mlflow = store, clock, mlflow
        self._registering: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def register(self, person: Person, request: wire.RegisterRequest) -> wire.ModelVersion:
        """The version that this job's model has under this name; made now unless it was before.

        Raises `NotFound`, `JobNotSucceeded`, `NoSavedModel`, `ReservedTag`, and `ModelTaken` where the name is
        somebody else's.
        """
        if reserved := next((tag for tag in request.tags if tag.startswith(LINEAGE)), None):
            raise ReservedTag(tag=reserved, prefix=LINEAGE)
        job = await self._store.read(lambda session: find(session, person.name, request.job))
        if job.state != "succeeded" or job.run_id is None:
            raise JobNotSucceeded(job=job.name, state=job.state)
        mlflow = self._mlflow.acting(person.name, admin=person.admin)
        run = await mlflow.run(job.run_id)
        saved = run.tags.get("dure.model_id") or (run.models[-1] if run.models else None)
        if saved is None:
            raise NoSavedModel(job=job.name)
        async with self._registering[request.name]:  # two at once would make two versions of one run
            taken = ModelTaken(kind="model", name=request.name)
            try:
                model = await mlflow.ensure_model(request.name, {"dure.owner": person.name})
                owner = mapping(model.get("tags", [])).get("dure.owner", person.name)
                if owner != person.name and not person.admin:
                    raise taken
                known = await mlflow.versions(request.name, job.run_id)
                tags = {**request.tags, **lineage(job, run)}
                made = known[0] if known else await mlflow.create_version(request.name, saved, job.run_id, tags)
            except NotAllowed as error:
                raise taken from error
        version = int(made["version"])
        if not known:
            await self._store.run(lambda session: self._record(session, person, job, request.name, version))
        return on_wire(await mlflow.version(request.name, version), run)

    async def list(self, person: Person, *, metrics: bool = True) -> Sequence[wire.ModelVersion]:
        """The newest version of every model. Without `metrics` MLflow is asked once, and not for every run too."""
        mlflow = self._mlflow.acting(person.name, admin=person.admin)
        models = [model for model in await mlflow.models() if model.get("latest_versions")]
        newest = [max(model["latest_versions"], key=lambda v: int(v["version"])) for model in models]
        runs = await self._runs(person, newest) if metrics else {}
        return [
            on_wire(version, runs.get(version.get("run_id", "")), aliases_of(model))
            for model, version in zip(models, newest, strict=True)
        ]

    async def versions(self, person: Person, name: str) -> Sequence[wire.ModelVersion]:
        """Every version of a model, newest first; raises `NotFound`."""
        mlflow = self._mlflow.acting(person.name, admin=person.admin)
        aliases = aliases_of(await mlflow.model(name))
        found = await mlflow.versions(name)
        runs = await self._runs(person, found)
        return [on_wire(version, runs.get(version.get("run_id", "")), aliases) for version in found]

    async def set_alias(self, person: Person, name: str, alias: str, version: int) -> wire.ModelVersion:
        """Point an alias at a version of one's own model."""
        mlflow = self._mlflow.acting(person.name, admin=person.admin)
        await mlflow.set_alias(name, alias, version)
        facts = {"alias": alias, "version": version}
        await self._store.run(
            lambda session: record(session, self._clock, person.name, "model.alias", f"model:{name}", facts)
        )
        found = await mlflow.version(name, version)
        return on_wire(found, (await self._runs(person, [found])).get(found.get("run_id", "")))

    async def _runs(self, person: Person, versions: Sequence[Mapping[str, Any]]) -> dict[str, Run]:
        """The runs behind these versions; one that was deleted is left out."""
        mlflow, gate = self._mlflow.acting(person.name, admin=person.admin), asyncio.Semaphore(_AT_ONCE)

        async def read(run_id: str) -> builtins.list[Run]:
            async with gate:
                return await mlflow.known_run(run_id)

        ids = sorted({version["run_id"] for version in versions if version.get("run_id")})
        return {run.id: run for found in await asyncio.gather(*map(read, ids)) for run in found}

    def _record(self, session: Session, person: Person, job: Job, name: str, version: int) -> None:
        facts = {"job": job.name, "run": job.run_id}
        record(session, self._clock, person.name, "model.register", f"model:{name}/{version}", facts)


def lineage(job: Job, run: Run) -> dict[str, str]:
    """Where a version comes from, as tags; what is not known is left out."""
    tags = {
        "dure.job": job.name,
        "dure.job_id": job.id,
        "dure.owner": job.owner,
        "dure.snapshot": job.snapshot,
        "dure.git_commit": job.git_commit or "",
        "dure.entry": job.entry,
        "dure.profile": job.profile,
        "dure.device": job.device or "",
        "dure.gpu": job.device if job.device and job.device != "cpu" else "",
        "dure.processes": str(job.processes or ""),
    }
    # what the job itself saw: versions of Python and torch, image, driver
    seen = {key: value for key, value in run.tags.items() if key.startswith(LINEAGE) and key not in tags}
    return {**seen, **{key: value for key, value in tags.items() if value}}


def aliases_of(model: Mapping[str, Any]) -> dict[str, int]:
    """Aliases of a registered model and the version each stands for."""
    return {entry["alias"]: int(entry["version"]) for entry in model.get("aliases", [])}


def on_wire(
    version: Mapping[str, Any], run: Run | None, aliases: Mapping[str, int] | None = None
) -> wire.ModelVersion:
    """A version in our words. Without `aliases` its own list is used, which MLflow gives for single versions."""
    number, tags = int(version["version"]), mapping(version.get("tags", []))
    made = version.get("creation_timestamp")
    named = version.get("aliases", []) if aliases is None else [a for a, v in aliases.items() if v == number]
    return wire.ModelVersion(
        name=version["name"],
        version=number,
        owner=tags.get("dure.owner"),
        run_id=version.get("run_id"),
        source=version.get("source"),
        aliases=sorted(named),
        tags=tags,
        metrics={name: value for name, value in run.metrics.items() if math.isfinite(value)} if run else {},
        created_at=datetime.fromtimestamp(int(made) / 1000, UTC) if made else None,
    )
