"""Every route has a guard, and each guard means it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import Mount

from dure.wire.ids import new_id
from dure_hub.operations.people import ADMIN, METRICS, USE
from dure_hub.services.application import PUBLIC
from dure_hub.services.guard import Guard
from dure_hub.services.places import API, BASE, STATIC
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub

DIGEST = "0" * 64
SCHEDULE = {"name": "a", "snapshot": DIGEST, "notebook": "a.ipynb", "cron": "0 9 * * *"}
# What the owner's request answers, with nothing there. 503 is MLflow, which does not run here.
ROUTES: list[tuple[str, str, Any, set[int]]] = [
    ("GET", "/me", None, {200}),
    ("GET", "/profiles", None, {200}),
    ("GET", "/profiles/offers", None, {200}),
    ("GET", "/profiles/cpu/plan", None, {200}),
    ("GET", "/fleet", None, {403}),
    ("GET", "/devices", None, {403}),
    ("POST", "/devices/none/cordon", {}, {403, 404}),
    ("POST", "/devices/none/drain", {}, {403, 404}),
    ("POST", "/devices/none/uncordon", None, {403, 404}),
    ("GET", "/disk", None, {200}),
    ("GET", "/leases/01J00000000000000000000000/logs", None, {404}),
    ("GET", "/environments", None, {200}),
    ("GET", "/environments/none", None, {404}),
    ("GET", "/environments/none/usage", None, {404}),
    ("GET", "/environments/none/progress", None, {404}),
    ("POST", "/environments/none/start", None, {404}),
    ("POST", "/environments/none/checkpoint", None, {404}),
    ("POST", "/environments/none/activity", {"kernels": "idle"}, {404}),
    ("DELETE", "/environments/none", None, {404}),
    ("POST", "/environments/none/extend", {"until": "2026-01-01T00:00:00Z"}, {404}),
    ("POST", "/environments", {"id": new_id(), "profile": "no-such"}, {422}),
    ("GET", "/training/jobs", None, {200}),
    ("GET", "/training/jobs/none", None, {404}),
    ("DELETE", "/training/jobs/none", None, {404}),
    ("GET", "/training/jobs/none/logs", None, {404}),
    ("POST", "/training/jobs", {"id": new_id(), "name": "a", "snapshot": DIGEST, "entry": "a.py"}, {404, 422}),
    ("PUT", f"/snapshots/{DIGEST}", None, {422}),
    ("HEAD", f"/snapshots/{DIGEST}", None, {404}),
    ("GET", "/models", None, {503}),
    ("POST", "/models", {"name": "m", "job": "none"}, {404}),
    ("GET", "/models/m/versions", None, {503}),
    ("PUT", "/models/m/aliases/champion", {"version": 1}, {503}),
    ("GET", "/endpoints", None, {200}),
    ("POST", "/endpoints", {"id": new_id(), "name": "e", "model": "m", "version": 1}, {503}),
    ("GET", "/endpoints/none", None, {404}),
    ("DELETE", "/endpoints/none", None, {404}),
    ("POST", "/endpoints/none/canary", {"id": new_id(), "version": 1}, {404}),
    ("POST", "/endpoints/none/promote", None, {404}),
    ("POST", "/endpoints/none/rollback", None, {404}),
    ("GET", "/schedules", None, {200}),
    ("POST", "/schedules", {**SCHEDULE, "id": new_id()}, {422}),
    ("GET", "/schedules/none", None, {404}),
    ("DELETE", "/schedules/none", None, {404}),
    ("POST", "/schedules/none/pause", None, {404}),
    ("POST", "/schedules/none/resume", None, {404}),
    ("POST", "/schedules/none/run", {"id": new_id()}, {404}),
    ("GET", "/schedules/none/executions", None, {404}),
    ("GET", "/schedules/none/executions/1", None, {404}),
    ("DELETE", "/schedules/none/executions/1", None, {404}),
    ("GET", "/schedules/none/executions/1/logs", None, {404}),
    ("GET", "/schedules/none/executions/1/notebook", None, {404}),
    ("GET", "/environments/none/shares", None, {404}),
    ("POST", "/environments/none/shares", {"with": "ben"}, {404}),
    ("DELETE", "/environments/none/shares?with=ben", None, {404}),
    ("GET", "/shares/notebooks", None, {200}),
    ("POST", "/shares/notebooks", {"environment": "none", "path": "a.ipynb", "with": "ben"}, {404}),
    ("DELETE", "/shares/notebooks/01J00000000000000000000000", None, {404}),
    ("POST", "/tokens", {}, {201}),
    ("DELETE", "/tokens/01J00000000000000000000000", None, {404}),
    ("GET", "/keys", None, {200}),
    ("POST", "/keys", {"name": "ci", "scopes": ["read"]}, {201, 409}),
    ("DELETE", "/keys/01J00000000000000000000000", None, {404}),
    ("GET", "/logins", None, {403}),
    ("GET", "/events", None, {403}),
    ("GET", "/events/export", None, {403}),
    ("GET", "/me/notices", None, {200}),
    ("POST", "/me/notices/seen", {"ids": []}, {204}),
    ("GET", "/me/notices/settings", None, {200}),
    ("PUT", "/me/notices/settings", {}, {200}),
    ("POST", "/me/notices/channels", {"id": new_id(), "url": "nonsense"}, {422}),
    ("DELETE", "/me/notices/channels/01J00000000000000000000000", None, {404}),
    ("POST", "/me/notices/test", None, {202}),
    ("GET", "/notices/failures", None, {403}),
    ("GET", "/costs", None, {200}),
    ("GET", "/forecast", None, {200}),
    ("GET", "/recommendations", None, {200}),
    ("GET", "/gpu/overview", None, {200}),
    ("GET", "/gpu/devices", None, {200}),
    ("GET", "/gpu/devices/none", None, {404}),
    ("POST", "/gpu/devices/none/mig", {"profiles": []}, {403, 404}),
    ("GET", "/gpu/allocations", None, {200}),
    ("POST", "/gpu/allocations", {"namespace": "a", "podName": "a"}, {422}),
    ("GET", "/gpu/allocations/01J00000000000000000000000", None, {404}),
    ("DELETE", "/gpu/allocations/01J00000000000000000000000", None, {404}),
    ("GET", "/queue", None, {200}),
    ("GET", "/metrics", None, {403}),
    ("GET", "/budgets", None, {200}),
    ("PUT", "/budgets", {"kind": "team"}, {422}),
    ("GET", "/quotas", None, {200}),
    ("PUT", "/quotas", {"kind": "user"}, {422}),
    ("GET", "/organisation", None, {403}),
    ("PUT", "/organisation", {"text": "teams: {}"}, {403}),
    ("GET", "/teams", None, {200}),
    ("PUT", "/teams/none", {}, {403}),
    ("DELETE", "/teams/none", None, {403}),
]
FOR_ADMINISTRATORS = (
    "/events/export", "/fleet", "/devices", "/logins", "/notices/failures", "/organisation", "/teams/{team}",
)  # fmt: skip
ACTS = [f"/devices/{{device}}/{verb}" for verb in ("cordon", "drain", "uncordon")]
SCOPES = {"/metrics": METRICS, "/gpu/devices/{device}/mig": ADMIN} | dict.fromkeys(
    (*FOR_ADMINISTRATORS, *ACTS), ADMIN
)
ADMINISTRATORS = {path: {200} for path in (*FOR_ADMINISTRATORS, "/events", "/metrics")} | {
    "/teams/none": {200, 404}
}
"""What theirs answers where it is another."""
PAGES = ["/", "", "/spawn", "/wait/none", "/share/none", "/shared", "/notices", "/docs"]


def routes(app: FastAPI) -> Iterator[tuple[str, RouteContext]]:
    """Every route with its path, however deep it was included."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            assert context.path is not None
            yield context.path, context


def guards(dependant: Dependant) -> list[Guard]:
    """The guards a route depends on."""
    found = [dependant.call] if isinstance(dependant.call, Guard) else []
    return found + [guard for inner in dependant.dependencies for guard in guards(inner)]


def test_every_route_has_exactly_one_guard_but_for_a_listed_few(app: FastAPI) -> None:
    seen = {path: guards(route.dependant) for path, route in routes(app)}
    assert len(seen) > 30
    assert {path for path, found in seen.items() if not found} == PUBLIC
    assert all(len(found) <= 1 for found in seen.values())


def test_the_only_other_thing_is_the_folder_of_static_files(app: FastAPI) -> None:
    mounts = [route for route in app.routes if isinstance(route, Mount)]
    assert [mount.path for mount in mounts] == [STATIC]


def test_pages_are_guarded_as_pages_and_calls_as_calls(app: FastAPI) -> None:
    for path, route in routes(app):
        for guard in guards(route.dependant):
            assert guard.page == (not path.startswith(API))
            assert guard.scope == SCOPES.get(path.removeprefix(API), USE)


def test_a_scheduled_notebook_may_start_three_things(app: FastAPI) -> None:
    open_to = {
        path.removeprefix(API) for path, route in routes(app) if any(g.executions for g in guards(route.dependant))
    }
    assert open_to == {"/training/jobs", "/endpoints", "/endpoints/{name}/canary"}


def test_the_list_of_this_test_has_every_call(app: FastAPI) -> None:
    for path, route in routes(app):
        if path.startswith(API) and path not in PUBLIC:
            for verb in route.methods or ():
                tried = [asked for known, asked, _, _ in ROUTES if known == verb]
                assert any(route.path_regex.match(API + asked.partition("?")[0]) for asked in tried), (
                    f"{verb} {path}"
                )


@pytest.mark.parametrize(("verb", "path", "body", "expected"), ROUTES)
async def test_who_may_do_what(
    anyone: httpx.AsyncClient, hub: StubHub, verb: str, path: str, body: Any, expected: set[int]
) -> None:
    async def status(headers: dict[str, str]) -> int:
        answer = await anyone.request(verb, API + path, json=body, headers=headers)
        if verb != "HEAD" and answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "next_step", "facts"}
        return answer.status_code

    assert await status({}) == 401
    assert await status(bearer("hub-never-heard-of-it")) == 401
    assert await status(bearer("dure_never-minted")) == 401
    assert await status({"Authorization": "Basic YTpi"}) == 401
    assert await status(bearer(hub.person("guest", use=False))) == 403
    assert await status(bearer(hub.person("ana"))) in expected
    assert await status({"Authorization": f"token {hub.person('ana')}"}) in expected
    assert await status(bearer(hub.person("root", admin=True))) in ADMINISTRATORS.get(path, expected)


@pytest.mark.parametrize("path", PAGES)
async def test_pages_send_strangers_to_the_login(anyone: httpx.AsyncClient, path: str) -> None:
    answer = await anyone.get(BASE + path, headers={"Accept": "text/html", "Sec-Fetch-Dest": "document"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{BASE}/login?next=%2Fservices%2Fdure")


@pytest.mark.parametrize("path", ["/health", "/api/v1/about", "/api/v1/openapi.json"])
async def test_what_is_public_needs_nobody(anyone: httpx.AsyncClient, path: str) -> None:
    assert (await anyone.get(BASE + path)).status_code == 200
