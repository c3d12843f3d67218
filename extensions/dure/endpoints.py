"""Serve a registered version under a name; try a newer one on part of the requests; promote or go back."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dure import wire
from dure.client import Client, ask, client, read, read_all, said
from dure.display import Table, reason_of, say
from dure.errors import BadAnswer, reader_language
from dure.sdk_errors import EndpointFailed, WaitedTooLong
from dure.wire.ids import new_id

GOING_UP = frozenset({"waiting", "queued", "starting"})
WAIT_PATIENCE_S = 120.0
DEFAULT_WAIT_S = 300.0
KOREAN: Mapping[str, str] = {
    "waiting": "대기 중",
    "queued": "대기 중",
    "starting": "시작 중",
    "ready": "준비됨",
    "degraded": "일부만 응답",
    "failed": "실패",
    "stopping": "종료 중",
    "stopped": "종료됨",
    "champion": "챔피언",
    "canary": "카나리",
}
"""States of an endpoint, phases and roles of its versions; the API's own words are the English ones."""


def deploy(
    name: str,
    model: str,
    version: int,
    profile: str = "cpu",
    *,
    team: str | None = None,
    project: str | None = None,
    _id: str | None = None,
) -> Endpoint:
    """Serve this version under this name. Returns at once; `wait()` until it is ready.

    `team` pays for it, and `project` in that team; None is the team of the server you are in, else your only one.
    """
    served = {"name": name, "model": model, "version": version, "profile": profile}
    request = ask(wire.DeployRequest, id=_id or new_id(), **served, team=team, project=project)
    portal = client()
    answer = portal.post("/endpoints", request.model_dump(mode="json"), repeatable=True)
    return Endpoint(read(wire.Endpoint, answer), portal)


def get(name: str) -> Endpoint:
    """An endpoint by its name."""
    portal = client()
    return Endpoint(read(wire.Endpoint, portal.get(f"/endpoints/{name}")), portal)


def list() -> Table[Endpoint]:  # noqa: A001 - dure.endpoints.list() reads well
    """Every endpoint you may use."""
    portal = client()
    found = (Endpoint(seen, portal) for seen in read_all(wire.Endpoint, portal.get("/endpoints")))
    return Table(found, ("name", "last_state", "model", "profile", "address"))


class Predictions(Sequence[Any]):
    """What the model said, one entry a row; `version` is the version that said it."""

    def __init__(self, values: Sequence[Any], version: int | None) -> None:
        self._values, self.version = values, version

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return [*self] == ([*other] if isinstance(other, Sequence) else other)

    def __hash__(self) -> int:
        return hash((self.version, repr(self._values)))

    def __repr__(self) -> str:
        return repr(self._values)


class Endpoint:
    """A served name with a champion and perhaps a canary."""

    def __init__(self, seen: wire.Endpoint, portal: Client) -> None:
        self._seen, self._portal = seen, portal

    def __getattr__(self, name: str) -> Any:
        # What the portal says of an endpoint (name, model, champion, reason, …), as last seen; `canary` is a verb
        # here, so the replica of that name is `status.canary`.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._seen, name)

    @property
    def status(self) -> wire.Endpoint:
        """How it is now: state, champion and canary with their share, requests and errors."""
        return self.refresh()._seen

    @property
    def last_state(self) -> str:
        """The state as last seen, without asking."""
        return self._seen.state

    @property
    def address(self) -> str:
        """Where rows are posted, with a token: `{address}` answers `{"inputs": [[…], …]}`."""
        return f"{self._portal.url}{self._seen.url.rstrip('/')}/invocations"

    def refresh(self, *, patience_s: float | None = None) -> Endpoint:
        """Ask the portal how it is now."""
        answer = self._portal.get(f"/endpoints/{self._seen.name}", patience_s=patience_s)
        self._seen = read(wire.Endpoint, answer)
        return self

    def wait(self, timeout: float = DEFAULT_WAIT_S) -> Endpoint:
        """Wait until every version of it answers. Raises where one fails, or after `timeout` seconds."""
        started, told = self._portal.now(), ""
        while True:
            self.refresh(patience_s=WAIT_PATIENCE_S)
            if (now := self._described("en")) != told:
                told = now
                say(f"{self._seen.name}: {now}", f"{self._seen.name}: {self._described('ko')}")
            if self._seen.state in ("failed", "stopped"):
                raise EndpointFailed(name=self._seen.name, reason=reason_of(self._seen) or _both(self._seen.state))
            for replica in self._replicas():
                if replica.phase == "failed":
                    raise EndpointFailed(name=self._seen.name, reason=reason_of(replica) or _both(replica.phase))
            if self._seen.state == "ready" and not any(r.phase in GOING_UP for r in self._replicas()):
                return self
            if self._portal.now() - started > timeout:
                state = _both(self._seen.state)
                raise WaitedTooLong(kind="endpoint", name=self._seen.name, state=state, seconds=round(timeout))
            self._portal.sleep(0.5)

    def predict(self, rows: Any) -> Predictions:
        """Ask for predictions: `rows` is a list of rows, or an array or frame of them, all finite numbers."""
        path = self._seen.url.rstrip("/") + "/invocations"
        answer = self._portal.send("POST", path, repeatable=True, json={"inputs": as_rows(rows)})
        body, version = said(answer), answer.headers.get("x-dure-model-version", "")
        if not isinstance(body, dict) or "predictions" not in body:
            raise BadAnswer(status=answer.status_code)
        return Predictions(body["predictions"], int(version) if version.isdigit() else None)

    def canary(self, version: int, percent: int = 10, *, _id: str | None = None) -> Endpoint:
        """Send `percent` of the requests to `version`; the champion keeps the rest."""
        request = ask(wire.CanaryRequest, id=_id or new_id(), version=version, percent=percent)
        return self._change("canary", request.model_dump(mode="json"), repeatable=True)

    def promote(self) -> Endpoint:
        """Make the canary the champion; the old champion ends after its last request."""
        return self._change("promote")

    def rollback(self) -> Endpoint:
        """End the canary; the champion takes every request again."""
        return self._change("rollback")

    def delete(self) -> None:
        """End the endpoint. Its versions stay registered."""
        self._portal.delete(f"/endpoints/{self._seen.name}")

    def _change(self, verb: str, body: Mapping[str, Any] | None = None, repeatable: bool = False) -> Endpoint:
        answer = self._portal.post(f"/endpoints/{self._seen.name}/{verb}", body, repeatable=repeatable)
        self._seen = read(wire.Endpoint, answer)
        return self

    def _replicas(self) -> Sequence[wire.Replica]:
        return [replica for replica in (self._seen.champion, self._seen.canary) if replica is not None]

    def _described(self, language: str) -> str:
        def word(code: str) -> str:
            return _both(code)[language]

        parts = [f"{word(r.role)} v{r.version} {r.percent} % ({word(r.phase)})" for r in self._replicas()]
        state = word(self._seen.state)
        return f"{state}: {', '.join(parts)}" if parts else state

    def __repr__(self) -> str:
        return f"<Endpoint {self._seen.name} {self._described(reader_language())}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self._seen.name)}</b> {html.escape(self._described(reader_language()))}"


def _both(code: str) -> Mapping[str, str]:
    return {"en": code, "ko": KOREAN.get(code, code)}


def as_rows(rows: Any) -> Any:
    """Rows as `predict` sends them: arrays, tensors, frames and generators as lists, anything else as it is."""
    if hasattr(rows, "to_numpy"):
        rows = rows.to_numpy()
    if hasattr(rows, "tolist"):
        rows = rows.tolist()
    if isinstance(rows, Iterator):
        rows = [*rows]
    return [as_rows(row) for row in rows] if isinstance(rows, Sequence) and not isinstance(rows, str) else rows
