"""What the widgets ask the portal for, by the SDK.

It runs where the kernel handles a widget's messages: in JupyterLab on a thread of its own beside the cells (a
subshell for all widgets of the kernel), in Voila and in kernels without subshells in the main loop between two
cells. Either way one question holds up all other widgets of the notebook, so a look asks once and waits for no
portal that is away: the next look comes by itself. What a click asks for has the SDK's own patience.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from dure import endpoints, models, training, wire
from dure.client import API, Client, client, read, read_all, said
from dure.display import reason_of
from dure.endpoints import Endpoint
from dure.errors import NotFound, as_text
from dure.training import ENDED, Job

LOOK_TIMEOUT = httpx.Timeout(8, connect=2)
"""How long one look may hold the kernel, in seconds."""


class Portal:
    """The portal that the environment names, asked as the person whose notebook this is."""

    def look(self, path: str, **query: Any) -> Any:
        """The JSON of one quick read below the API."""
        return said(self._look(API + path, query))

    def _look(self, path: str, query: Mapping[str, Any]) -> httpx.Response:
        asked: Client = client()
        return asked.send("GET", path, repeatable=True, params=query, patience_s=0, timeout=LOOK_TIMEOUT)

    def profiles(self) -> Sequence[wire.Profile]:
        """What a person can pick."""
        return read_all(wire.Profile, self.look("/profiles"))

    def plan(self, profile: str, team: str | None = None, project: str | None = None) -> wire.Plan:
        """What a request for this profile would hold, cost and when it could start, where these pay for it."""
        paying = {name: one for name, one in (("team", team), ("project", project)) if one is not None}
        return read(wire.Plan, self.look(f"/profiles/{profile}/plan", **paying))

    def whoami(self) -> wire.User:
        """Who asks."""
        return read(wire.User, self.look("/me"))

    def train(self, entry: Any, **options: Any) -> Job:
        """Start a job."""
        return training.train(entry, **options)

    def job(self, name: str) -> wire.Job:
        """A job of one's own, as it is now."""
        return read(wire.Job, self.look(f"/training/jobs/{name}"))

    def job_of(self, seen: wire.Job) -> Job:
        """What can be done with a job."""
        return Job(seen, client())

    def log(self, job: str, offset: int) -> wire.LogPage:
        """A piece of a job's log."""
        return read(wire.LogPage, self.look(f"/training/jobs/{job}/logs", offset=offset))

    def metrics(self, run: str) -> dict[str, tuple[int, float]]:
        """The last (step, value) of every metric of a run."""
        answer = self._tracking("runs/get", run_id=run).get("run") or {}
        found = answer.get("data", {}).get("metrics", [])
        return {metric["key"]: (int(metric.get("step", 0)), float(metric["value"])) for metric in found}

    def history(self, run: str, metric: str, start: int, most: int) -> list[tuple[int, float]]:
        """At most so many points of a metric's course from the `start`-th on, in the order they were logged in.

        MLflow sorts by time, so what is logged later comes behind what was read, and no point is read twice.
        """
        query: dict[str, Any] = {"run_id": run, "metric_key": metric, "max_results": most}
        if start:
            query["page_token"] = base64.b64encode(json.dumps({"offset": start}).encode()).decode()
        answer = self._tracking("metrics/get-history", **query)
        return [(int(point.get("step", 0)), float(point["value"])) for point in answer.get("metrics", [])]

    def _tracking(self, path: str, **query: Any) -> dict[str, Any]:
        answer = said(self._look(f"/services/mlflow/api/2.0/mlflow/{path}", query))
        return answer if isinstance(answer, dict) else {}

    def versions(self, model: str) -> Sequence[wire.ModelVersion]:
        """The versions of a model, none where nobody registered one yet."""
        try:
            return read_all(wire.ModelVersion, self.look(f"/models/{model}/versions"))
        except NotFound:
            return []

    def register(self, model: str, job: str) -> wire.ModelVersion:
        """Register what a job saved."""
        return models.register(model, job)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Let an alias stand for a version."""
        models.set_alias(model, alias, version)

    def endpoint(self, name: str) -> wire.Endpoint | None:
        """An endpoint as it is now, None where there is none of this name."""
        try:
            return read(wire.Endpoint, self.look(f"/endpoints/{name}"))
        except NotFound:
            return None

    def endpoint_of(self, seen: wire.Endpoint) -> Endpoint:
        """What can be done with an endpoint."""
        return Endpoint(seen, client())

    def deploy(
        self,
        name: str,
        model: str,
        version: int,
        profile: str,
        key: str | None,
        team: str | None = None,
        project: str | None = None,
    ) -> None:
        """Serve a version; `key` is the id of whoever asks for it, or None."""
        endpoints.deploy(name, model, version, profile, team=team, project=project, _id=key)


def reason(thing: Any, language: str) -> str | None:
    """Why something is as it is, in the reader's language."""
    said_so = as_text(reason_of(thing), language)
    return None if said_so is None else str(said_so)


def iso(moment: Any) -> str | None:
    """A time for the browser, which shows it in the viewer's zone."""
    return None if moment is None else moment.isoformat()


def has_ended(state: str | None) -> bool:
    """Whether nothing more will come of a job in this state."""
    return state in ENDED
