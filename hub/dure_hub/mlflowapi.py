"""The one client of MLflow's REST API, over its Unix socket, on behalf of a person.

The socket is reachable by this portal's processes alone, so MLflow trusts the two headers that say who asks;
what that person may do is then MLflow's own rule: everyone reads, owners write. Foreign errors end here: what
callers see are DureErrors, and `NotReady` while MLflow is away.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from dure.errors import Conflict, DureError, NotAllowed, NotFound, NotReady, Text
from dure.wire.ids import new_id
from dure_hub.settings import Settings

PREFIX = "/services/mlflow"
_ARTIFACTS = "mlflow-artifacts:/"


class MlflowRefused(DureError):
    """MLflow found fault with a request; `why` is its own sentence."""

    code, status = "mlflow_refused", 422
    message: ClassVar[Text] = {"en": "MLflow refused: {why}", "ko": "MLflow가 거부했습니다: {why}"}
    next_step: ClassVar[Text] = {
        "en": "Change what it names, and send it again.",
        "ko": "해당 값을 고쳐 다시 보내세요.",
    }


class MlflowHasOne(Conflict):
    """A name that is taken in MLflow, perhaps by what nobody but its owner sees."""

    code, status = "mlflow_has_one", 409
    message: ClassVar[Text] = {
        "en": "MLflow has a {kind} named {name} already.",
        "ko": "MLflow에 이름이 {name}인 {kind}이(가) 이미 있습니다.",
    }
    next_step: ClassVar[Text] = {"en": "Choose another name.", "ko": "다른 이름을 쓰세요."}


class ForeignArtifacts(DureError):
    """A version whose files lie where this portal does not serve from."""

    code, status = "foreign_artifacts", 422
    message: ClassVar[Text] = {
        "en": "The files of {name} version {version} are not kept by this portal's MLflow ({uri}).",
        "ko": "{name} 버전 {version}의 파일은 이 포털의 MLflow에 없습니다({uri}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Log the model to this portal with `mlflow.*.log_model`, and register that.",
        "ko": "`mlflow.*.log_model`로 이 포털에 모델을 저장한 뒤 등록하세요.",
    }


@dataclass(frozen=True)
class Run:
    """An MLflow run as far as we read it; `models` are the ids of what it saved, oldest first."""

    id: str
    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    models: Sequence[str] = ()


class MlflowApi:
    """Makes sessions that act for a person; all share one connection pool. Bound to the running event loop."""

    def __init__(self, settings: Settings) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(settings.folder.run / "mlflow.sock"))
        self._http = httpx.AsyncClient(
            transport=transport, base_url=f"http://localhost{settings.at('')}", timeout=30
        )

    def acting(self, user: str, *, admin: bool = False) -> MlflowSession:
        """Requests of this person."""
        return MlflowSession(self._http, user, admin=admin)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class MlflowSession:
    """What we ask of MLflow, for one person. Every method raises `NotReady` while MLflow is away."""

    def __init__(self, http: httpx.AsyncClient, user: str, *, admin: bool) -> None:
        self._http = http
        self.user = user
        self._headers = {"x-dure-user": header_name(user), "x-dure-admin": "1" if admin else "0"}

    async def experiment(self, name: str) -> str:
        """The id of an experiment, made if missing, brought back if deleted."""
        experiment = await self._experiment(name)
        if experiment is None:
            try:
                made = await self._post("experiments/create", {"name": name}, ("experiment", name))
                return str(made["experiment_id"])
            except MlflowHasOne:  # somebody made it since we looked; or it is hidden, and then this stands
                experiment = await self._experiment(name)
                if experiment is None:
                    raise
        if experiment["lifecycle_stage"] == "deleted":
            await self._post("experiments/restore", {"experiment_id": experiment["experiment_id"]})
        return str(experiment["experiment_id"])

    async def _experiment(self, name: str) -> dict[str, Any] | None:
        what = ("experiment", name)
        try:
            found = await self._get("experiments/get-by-name", {"experiment_name": name}, what)
        except NotFound:
            return None
        return dict(found["experiment"])

    async def create_run(self, experiment: str, name: str, tags: Mapping[str, str], start_ms: int) -> str:
        """Start a run in experiment id `experiment`; the answer is its id."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start_ms, "tags": _pairs(tags)}
        return str((await self._post("runs/create", body))["run"]["info"]["run_id"])

    async def find_run(self, experiment: str, tag: str, value: str) -> str | None:
        """The first run of an experiment that carries this tag; how a retry finds what it made before."""
        body = {"experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1}
        runs = (await self._post("runs/search", body)).get("runs", [])
        return str(runs[0]["info"]["run_id"]) if runs else None

    async def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        """Close a run as FINISHED, FAILED or KILLED."""
        body = {"run_id": run_id, "status": status, "end_time": end_ms}
        await self._post("runs/update", body, ("run", run_id))

    async def run(self, run_id: str) -> Run:
        """A run with its latest metrics."""
        run = (await self._get("runs/get", {"run_id": run_id}, ("run", run_id)))["run"]
        data, outputs = run.get("data", {}), run.get("outputs", {})
        return Run(
            id=run_id,
            status=run["info"]["status"],
            metrics={m["key"]: float(m["value"]) for m in data.get("metrics", [])},
            params=mapping(data.get("params", [])),
            tags=mapping(data.get("tags", [])),
            models=tuple(m["model_id"] for m in outputs.get("model_outputs", [])),
        )

    async def known_run(self, run_id: str) -> list[Run]:
        """The run if it is there, else nothing: versions outlive their runs."""
        try:
            return [await self.run(run_id)]
        except NotFound:
            return []

    async def ensure_model(self, name: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """The registered model of this name, made by and for this person if there is none.

        Where somebody else is faster it is theirs, as its tags say. Raises `MlflowHasOne` where it is hidden.
        """
        try:
            return await self.model(name)
        except NotFound:
            body = {"name": name, "tags": _pairs(tags)}
        try:
            made = await self._post("registered-models/create", body, ("model", name))
        except MlflowHasOne as taken:  # since we looked; or it is hidden, and then this stands
            try:
                return await self.model(name)
            except NotFound:
                raise taken from None
        return dict(made["registered_model"])

    async def model(self, name: str) -> dict[str, Any]:
        """A registered model in MLflow's own words."""
        found = await self._get("registered-models/get", {"name": name}, ("model", name))
        return dict(found["registered_model"])

    async def models(self) -> list[dict[str, Any]]:
        """Every registered model; prompts, which MLflow keeps in the same table, are left out."""
        found = await self._pages("registered-models/search", {"max_results": "200"}, "registered_models")
        return [m for m in found if "mlflow.prompt.is_prompt" not in mapping(m.get("tags", []))]

    async def create_version(
        self, name: str, model_id: str, run_id: str, tags: Mapping[str, str]
    ) -> dict[str, Any]:
        """Register what a run saved as the next version of a model."""
        body = {
            "name": name,
            "source": f"models:/{model_id}",
            "model_id": model_id,
            "run_id": run_id,
            "tags": _pairs(tags),
        }
        return dict((await self._post("model-versions/create", body, ("model", name)))["model_version"])

    async def version(self, name: str, version: int) -> dict[str, Any]:
        """One version in MLflow's own words, aliases included."""
        what = ("model version", f"{name}/{version}")
        found = await self._get("model-versions/get", {"name": name, "version": str(version)}, what)
        return dict(found["model_version"])

    async def versions(self, name: str, run_id: str | None = None) -> list[dict[str, Any]]:
        """Versions of a model, newest first; of one run only, where asked."""
        where = f"name='{_quoted(name)}'" + (f" and run_id='{_quoted(run_id)}'" if run_id else "")
        found = await self._pages(
            "model-versions/search", {"filter": where, "max_results": "200"}, "model_versions"
        )
        return sorted(found, key=lambda v: -int(v["version"]))

    async def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        body = {"name": name, "alias": alias, "version": str(version)}
        await self._post("registered-models/alias", body, ("model version", f"{name}/{version}"))

    async def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away; one that is not there is no error."""
        try:
            what = ("alias", f"{name}@{alias}")
            await self._ask("DELETE", "mlflow/registered-models/alias", what, json={"name": name, "alias": alias})
        except NotFound:
            return

    async def download(self, name: str, version: int, folder: Path) -> Path:
        """Copy a version's files into `folder`, which appears only when whole; a second call does nothing."""
        if await asyncio.to_thread(folder.is_dir):
            return folder
        query = {"name": name, "version": str(version)}
        found = await self._get("model-versions/get-download-uri", query, ("model version", f"{name}/{version}"))
        uri = str(found["artifact_uri"])
        if not uri.startswith(_ARTIFACTS):
            raise ForeignArtifacts(name=name, version=version, uri=uri)
        temporary = folder.with_name(f".{folder.name}.{new_id()}")
        await asyncio.to_thread(temporary.mkdir, mode=0o700, parents=True)
        try:
            await self._copy(uri.removeprefix(_ARTIFACTS).strip("/"), temporary)
            await asyncio.to_thread(_appear, temporary, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
        return folder

    async def _copy(self, path: str, folder: Path) -> None:
        """Copy one folder of the artifact store, and those below it."""
        listing = await self._ask("GET", "mlflow-artifacts/artifacts", ("folder", path), params={"path": path})
        for entry in listing.get("files", []):
            name = PurePosixPath(str(entry["path"])).name
            if name in ("", ".", ".."):  # nothing of a listing may point out of `folder`
                raise MlflowRefused(why=f"a file named {entry['path']!r}")
            target, below = folder / name, f"{path}/{name}"
            if entry.get("is_dir"):
                await asyncio.to_thread(target.mkdir, mode=0o700)
                await self._copy(below, target)
            else:
                await self._fetch(below, target)

    async def _fetch(self, path: str, target: Path) -> None:
        url = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        try:
            async with self._http.stream("GET", url, headers=self._headers) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise self._error(answer, ("file", path))
                with target.open("wb") as out:
                    async for piece in answer.aiter_bytes(1 << 20):
                        await asyncio.to_thread(out.write, piece)
        except httpx.TransportError as error:
            raise NotReady(part="MLflow") from error

    async def _get(self, path: str, query: Mapping[str, str], what: tuple[str, str] = ("", "")) -> dict[str, Any]:
        return await self._ask("GET", f"mlflow/{path}", what, params=query)

    async def _post(self, path: str, body: Mapping[str, Any], what: tuple[str, str] = ("", "")) -> dict[str, Any]:
        return await self._ask("POST", f"mlflow/{path}", what, json=body)

    async def _pages(self, path: str, query: Mapping[str, str], key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            page = await self._get(path, {**query, "page_token": token} if token else query)
            found += page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return found

    async def _ask(self, method: str, path: str, what: tuple[str, str], **more: Any) -> dict[str, Any]:
        url = f"{PREFIX}/api/2.0/{path}"
        try:
            answer = await self._http.request(method, url, headers=self._headers, **more)
        except httpx.TransportError as error:
            raise NotReady(part="MLflow") from error
        if answer.is_error:
            raise self._error(answer, what)
        return dict(answer.json())

    def _error(self, answer: httpx.Response, what: tuple[str, str]) -> DureError:
        """Our error for one of MLflow's; `what` is the kind and name of the thing that was asked for."""
        try:
            body = answer.json()
        except ValueError:
            body = {}
        code, why = str(body.get("error_code", "")), str(body.get("message", answer.text))[:500]
        kind, name = what
        if answer.status_code >= 500 or answer.status_code == 429:
            return NotReady(part="MLflow", why=why)
        if answer.status_code == 403 and answer.request.method == "GET" and kind:
            return NotFound(kind=kind, name=name)  # everyone reads, so MLflow hides only what is not there
        if answer.status_code in (401, 403):
            return NotAllowed(user=self.user, scope=f"MLflow: {kind} {name}".strip())
        if code == "RESOURCE_ALREADY_EXISTS":
            return MlflowHasOne(kind=kind, name=name)
        if answer.status_code == 404 and kind:
            return NotFound(kind=kind, name=name)
        return MlflowRefused(why=why)


def header_name(name: str) -> str:
    """A person's name as a header carries it, and so as MLflow knows them: ASCII, the rest percent-encoded.

    Envoy's requests and ours must agree in it, or one person would be two in MLflow.
    """
    return quote(name, safe="@.+-_ ")


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def mapping(pairs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """MLflow's lists of key and value as a dict."""
    return {pair["key"]: pair.get("value", "") for pair in pairs}


def _quoted(text: str | None) -> str:
    return (text or "").replace("'", "''")


def _appear(temporary: Path, folder: Path) -> None:
    """Rename into place; where another got there first, theirs is as good."""
    try:
        temporary.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
