"""Every call of the portal's API, and what it answers each of five roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dure.wire.ids import new_id
from tests.support.notebooks import notebook
from tests.support.zips import zipped

DIGEST, PACKED = zipped({"train.py": "print('hello')", "a.ipynb": notebook("print(a)", parameters="a = 1")})
ROLES = ("nobody", "other", "lead", "administrator", "owner")
"""In this order each row is asked, so that whoever must be refused is so before anybody has changed something."""


@dataclass(frozen=True)
class Row:
    """A call, and what it answers each of `ROLES`.

    `{server}`, `{job}` … are things of the owner's; `{of}` says whose they are, for the others.
    """

    verb: str
    path: str
    answers: tuple[int, int, int, int, int]
    body: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None


def named() -> str:
    """A name that was not used yet."""
    return f"a{new_id().lower()}"


def request_of(name: str) -> dict[str, Any]:
    """A start of a server."""
    return {"id": new_id(), "name": name, "profile": "cpu", "team": "vision"}


def job_of() -> dict[str, Any]:
    """A job."""
    return {"id": new_id(), "name": named(), "snapshot": DIGEST, "entry": "train.py"}


def schedule_of() -> dict[str, Any]:
    """A schedule."""
    asked = {"id": new_id(), "name": named(), "snapshot": DIGEST, "notebook": "a.ipynb"}
    return {**asked, "cron": "0 9 * * *"}


def pod() -> dict[str, Any]:
    """A GPU for a pod."""
    wanted = {"namespace": "ml", "podName": named(), "workloadType": "training"}
    return {**wanted, "useMig": False, "requiredMemoryGb": 8}


def later() -> dict[str, Any]:
    """An end of a server."""
    return {"until": (datetime.now(UTC) + timedelta(hours=9)).isoformat()}


ANYBODY = (401, 200, 200, 200, 200)
ADMINISTRATORS = (401, 403, 403, 200, 403)
NOTHING_THERE = (401, 404, 404, 404, 404)
ADMINISTRATORS_OF_NOTHING = (401, 403, 403, 404, 403)
# The small server saves nothing: who may ask it to hears 504. 409 is sharing, which needs hosts of one's own.
ROWS: list[Row] = [
    Row("GET", "/about", (200, 200, 200, 200, 200)),
    Row("GET", "/me", ANYBODY),
    Row("GET", "/profiles", ANYBODY),
    Row("GET", "/profiles/offers", ANYBODY),
    Row("GET", "/profiles/cpu/plan", ANYBODY),
    Row("GET", "/environments", ANYBODY),
    Row("GET", "/environments?team=vision", (401, 403, 200, 200, 403)),
    Row("GET", "/environments?everyone=true", ADMINISTRATORS),
    Row("POST", "/environments", (401, 403, 202, 202, 202), lambda: request_of(named())),
    Row("GET", "/environments/{server}{of}", (401, 403, 200, 200, 200)),
    Row("GET", "/environments/{server}/progress{of}", (401, 403, 403, 200, 200)),
    Row("GET", "/environments/{server}/usage{of}", (401, 403, 403, 200, 200)),
    Row("POST", "/environments/{server}/start", (401, 404, 404, 404, 202)),
    Row("POST", "/environments/{server}/activity", (401, 404, 404, 404, 204), {"kernels": "idle"}),
    Row("POST", "/environments/{server}/checkpoint{of}", (401, 403, 403, 504, 504)),
    Row("POST", "/environments/{server}/extend{of}", (401, 403, 403, 200, 200), later),
    Row("DELETE", "/environments/{server}{of}", (401, 403, 204, 204, 204)),
    Row("GET", "/environments/{server}/shares{of}", (401, 403, 403, 409, 409)),
    Row("POST", "/environments/{server}/shares{of}", (401, 403, 403, 409, 409), {"with": "zoe"}),
    Row("DELETE", "/environments/{server}/shares{of_with}", (401, 403, 403, 409, 409)),
    Row(
        "POST",
        "/training/jobs",
        (401, 202, 202, 202, 202),
        job_of,
    ),
    Row("GET", "/training/jobs", ANYBODY),
    Row("GET", "/training/jobs?team=vision", (401, 403, 200, 200, 403)),
    Row("GET", "/training/jobs/{job}", (401, 404, 404, 404, 200)),
    Row("GET", "/training/jobs/{job}/logs", (401, 404, 404, 404, 200)),
    Row("DELETE", "/training/jobs/{job}{of_why}", (401, 403, 204, 204, 204)),
    Row("PUT", "/snapshots/{digest}", (401, 204, 204, 204, 204)),
    Row("HEAD", "/snapshots/{digest}", (401, 204, 204, 204, 204)),
    Row("GET", "/models", ANYBODY),
    Row("POST", "/models", NOTHING_THERE, {"name": "m", "job": "none"}),
    Row("GET", "/models/none/versions", NOTHING_THERE),
    Row("PUT", "/models/none/aliases/champion", ADMINISTRATORS_OF_NOTHING, {"version": 1}),
    Row("GET", "/endpoints", ANYBODY),
    Row("POST", "/endpoints", NOTHING_THERE, lambda: {"id": new_id(), "name": "e", "model": "m", "version": 1}),
    Row("GET", "/endpoints/none", NOTHING_THERE),
    Row("DELETE", "/endpoints/none", NOTHING_THERE),
    Row("POST", "/endpoints/none/canary", NOTHING_THERE, lambda: {"id": new_id(), "version": 1}),
    Row("POST", "/endpoints/none/promote", NOTHING_THERE),
    Row("POST", "/endpoints/none/rollback", NOTHING_THERE),
    Row("POST", "/schedules", (401, 201, 201, 201, 201), schedule_of),
    Row("GET", "/schedules", ANYBODY),
    Row("GET", "/schedules?team=vision", (401, 403, 200, 200, 403)),
    Row("GET", "/schedules?everyone=true", ADMINISTRATORS),
    Row("GET", "/schedules/{schedule}{of}", (401, 403, 200, 200, 200)),
    Row("POST", "/schedules/{schedule}/pause{of}", (401, 403, 200, 200, 200)),
    Row("POST", "/schedules/{schedule}/resume{of}", (401, 403, 403, 200, 200)),
    Row("POST", "/schedules/{schedule}/run{of}", (401, 403, 403, 202, 202), lambda: {"id": new_id()}),
    Row("GET", "/schedules/{schedule}/executions{of}", (401, 403, 403, 200, 200)),
    Row("GET", "/schedules/{execution}{of}", (401, 403, 403, 200, 200)),
    Row("GET", "/schedules/{execution}/logs{of}", (401, 403, 403, 200, 200)),
    Row("GET", "/schedules/{execution}/notebook{of}", (401, 403, 403, 404, 404)),
    Row("DELETE", "/schedules/{execution}{of}", (401, 403, 204, 204, 204)),
    Row("DELETE", "/schedules/{schedule}{of}", (401, 403, 403, 204, 204)),
    Row("GET", "/shares/notebooks", ANYBODY),
    Row("POST", "/shares/notebooks", NOTHING_THERE, {"environment": "none", "path": "a.ipynb", "with": "ben"}),
    Row("DELETE", "/shares/notebooks/01J00000000000000000000000", NOTHING_THERE),
    Row("POST", "/tokens", (401, 201, 403, 403, 201), {}),
    Row("DELETE", "/tokens/{token}", (401, 404, 404, 204, 204)),
    Row("GET", "/keys", ANYBODY),
    Row("GET", "/keys?owner=ana", (401, 403, 403, 200, 200)),
    Row("POST", "/keys", (401, 201, 403, 403, 201), lambda: {"name": named(), "scopes": ["read"]}),
    Row("DELETE", "/keys/{key}", (401, 404, 404, 204, 204)),
    Row("GET", "/logins", ADMINISTRATORS),
    Row("GET", "/events", (401, 403, 200, 200, 403)),
    Row("GET", "/events/export", ADMINISTRATORS),
    Row("GET", "/me/notices", ANYBODY),
    Row("POST", "/me/notices/seen", (401, 204, 204, 204, 204), {"ids": []}),
    Row("GET", "/me/notices/settings", ANYBODY),
    Row("PUT", "/me/notices/settings", ANYBODY, {}),
    Row(
        "POST",
        "/me/notices/channels",
        (401, 201, 201, 201, 201),
        lambda: {"id": new_id(), "url": "jsons://example.org/hook"},
    ),
    Row("DELETE", "/me/notices/channels/{channel}", (401, 404, 404, 404, 204)),
    Row("POST", "/me/notices/test", (401, 202, 202, 202, 202)),
    Row("GET", "/notices/failures", ADMINISTRATORS),
    Row("GET", "/fleet", ADMINISTRATORS),
    Row("GET", "/devices", ADMINISTRATORS),
    Row("POST", "/devices/none/cordon", ADMINISTRATORS_OF_NOTHING, {}),
    Row("POST", "/devices/none/drain", ADMINISTRATORS_OF_NOTHING, {}),
    Row("POST", "/devices/none/uncordon", ADMINISTRATORS_OF_NOTHING),
    Row("GET", "/disk", ANYBODY),
    Row("GET", "/leases/{lease}/logs", (401, 404, 404, 200, 200)),
    Row("GET", "/gpu/overview", ANYBODY),
    Row("GET", "/gpu/devices", ANYBODY),
    Row("GET", "/gpu/devices/none", NOTHING_THERE),
    Row("POST", "/gpu/devices/none/mig", ADMINISTRATORS_OF_NOTHING, {"profiles": []}),
    Row("POST", "/gpu/allocations", (401, 202, 202, 202, 202), pod),
    Row("GET", "/gpu/allocations", ANYBODY),
    Row("GET", "/gpu/allocations?team=vision", (401, 403, 200, 200, 403)),
    Row("GET", "/gpu/allocations/{allocation}", (401, 404, 200, 200, 200)),
    Row("DELETE", "/gpu/allocations/{allocation}", (401, 404, 204, 204, 204)),
    Row("GET", "/queue", ANYBODY),
    Row("GET", "/metrics", ADMINISTRATORS),
    Row("GET", "/costs", ANYBODY),
    Row("GET", "/costs?by=user", ANYBODY),
    Row("GET", "/forecast", ANYBODY),
    Row("GET", "/forecast?team=vision", ANYBODY),
    Row("GET", "/recommendations", ANYBODY),
    Row("GET", "/budgets", ANYBODY),
    Row("PUT", "/budgets", ADMINISTRATORS, {"kind": "team", "name": "vision", "amount": 1000}),
    Row("GET", "/quotas", ANYBODY),
    Row("PUT", "/quotas", ADMINISTRATORS, {"kind": "user", "name": "zoe", "gpus": 2}),
    Row("GET", "/organisation", ADMINISTRATORS),
    Row("PUT", "/organisation", ADMINISTRATORS, {"text": "users: {}"}),
    Row("GET", "/teams", ANYBODY),
    Row("PUT", "/teams/speech", ADMINISTRATORS, {}),
    Row("DELETE", "/teams/speech", ADMINISTRATORS),
]
