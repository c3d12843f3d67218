"""Every writing route leaves an event when it succeeds: who, for whom, what, with which verdict, when.

One long walk through all of them over real operations, a real MLflow and a simulated fleet. A new route that
writes fails here until it has a step, or a sentence that says why it leaves none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services import application
from dure_hub.services.guard import SAFE
from dure_hub.services.places import API, BASE
from dure_hub.settings import Settings
from dure_hub.store.models import Environment, Event, Job, Lease, Replica
from tests.support.mlflow import mlflow_settings, running_mlflow, save_model
from tests.support.notebooks import notebook
from tests.support.zips import zipped
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_gpu import FLEET
from tests.unit.services.test_routes import routes

EXEMPT = {
    f"POST {API}/environments/{{name}}/activity": "a report of use, each minute; the row keeps the last",
    f"POST {BASE}/wait/{{name}}/dismiss": "the owner puts away what they have read; nothing else changes",
    f"POST {API}/me/notices/seen": "what one has read; nothing else changes",
    f"PUT {API}/me/notices/settings": "of what one is told oneself, and in which language",
    f"POST {API}/me/notices/test": "a notice to oneself",
    f"POST {BASE}/notices/seen": "what one has read; nothing else changes",
    f"POST {BASE}/notices/settings": "of what one is told oneself, and in which language",
    f"POST {BASE}/notices/test": "a notice to oneself",
    f"* {BASE}/check/{{path:path}}": "lets a request pass to MLflow or a model; what it refuses is told",
}
DIGEST, PACKED = zipped({"train.py": "print('hello')", "a.ipynb": notebook("print(a)", parameters="a = 1")})
SCHEDULE = {"snapshot": DIGEST, "notebook": "a.ipynb", "cron": "0 9 * * *"}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real MLflow server."""
    with running_mlflow(mlflow_settings(tmp_path_factory.mktemp("mlflow"))) as settings:
        yield settings


@pytest.fixture
async def ops(template: Path, hub: StubHub, tmp_path: Path, mlflow: Settings) -> AsyncIterator[Operations]:
    """A portal with a host for each person, GPUs to cut, and MLflow."""
    root, file = tmp_path / "data", tmp_path / "fleet.yaml"
    shutil.copytree(template, root)
    file.write_text(FLEET)
    Settings(
        data=root,
        hub_port=hub.port,
        instance="0123456789ab",
        simulated_fleet=str(file),
        subdomain_host="http://dure.test:8000",
        servers_per_person=1000,
        disk_minimum_mb=0,
        disk_minimum_percent=0,
    ).save()
    (root / "run" / "mlflow.sock").symlink_to(mlflow.folder.run / "mlflow.sock")
    made = operations(root)
    yield made
    await made.close()


class Walk:
    """Takes one step after the other, and looks at what each has left."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
        self.app, self.client, self.ops = app, client, ops
        self.tokens = {"ana": hub.person("ana"), "root": hub.person("root", admin=True)}
        hub.person("ben")
        self.seen: set[str] = set()

    async def step(
        self,
        verb: str,
        path: str,
        event: str,
        body: Any = None,
        *,
        who: str = "ana",
        form: Any = None,
        **more: Any,
    ) -> Any:
        """One call that must succeed and leave this event of this person's."""
        before = await self.last()
        sent = {"headers": bearer(self.tokens[who]), "json": body, "data": form, **more}
        answer = await self.client.request(verb, path, **{k: v for k, v in sent.items() if v is not None})
        assert answer.status_code < 400, f"{verb} {path}: {answer.status_code} {answer.text}"
        self.seen.add(self.template(verb, path))
        rows = await self.ops.store.read(
            lambda session: session.scalars(select(Event).where(Event.seq > before).order_by(Event.seq)).all()
        )
        found = [row for row in rows if row.verb == event and row.actor == who]
        assert found, f"{verb} {path} left {[(row.actor, row.verb) for row in rows]}, not {event} of {who}"
        assert all(row.object and row.at and isinstance(row.verdict, dict) for row in found)
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None

    async def last(self) -> int:
        """The number of the last event."""
        query = select(Event.seq).order_by(Event.seq.desc()).limit(1)
        return await self.ops.store.read(lambda session: session.scalar(query)) or 0

    async def change(self, kind: Any, key: dict[str, Any], **values: Any) -> None:
        """Arrange a row as the world would have left it."""

        def write(session: Any) -> None:
            for row in session.query(kind).filter_by(**key):
                for name, value in values.items():
                    setattr(row, name, value)

        await self.ops.store.run(write)

    def template(self, verb: str, path: str) -> str:
        """The route that answers this."""
        for declared, route in routes(self.app):
            if verb in (route.methods or ()) and route.path_regex.match(path.partition("?")[0]):
                return f"{verb} {declared}"
        raise AssertionError(f"no route for {verb} {path}")


def writing(app: FastAPI) -> set[str]:
    """Every route by which something may change."""
    found = set()
    for path, route in routes(app):
        verbs = set(route.methods or ()) - SAFE
        found |= {f"* {path}"} if len(verbs) > 2 else {f"{verb} {path}" for verb in verbs}
    return found


async def test_every_route_that_writes_leaves_an_event(
    app: FastAPI, anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, mlflow: Settings
) -> None:
    walk = Walk(app, anyone, ops, hub)
    await servers(walk)
    await turns(walk)
    await jobs(walk)
    await models(walk, mlflow)
    await schedules(walk)
    await shares(walk)
    await rest(walk)
    await organisation(walk)
    assert walk.seen | set(EXEMPT) == writing(app)
    assert not walk.seen & set(EXEMPT)


async def servers(walk: Walk) -> None:
    """Ask for, extend, save and stop."""
    place = f"{API}/environments"
    made = await walk.step(
        "POST", place, "environment.request", {"id": new_id(), "name": "mine", "profile": "cpu"}
    )
    assert made["phase"] in ("starting", "running")
    until = await walk.ops.store.read(lambda session: session.query(Lease).one().until)
    assert until is not None
    later = (until + timedelta(minutes=5)).isoformat()
    await walk.step("POST", f"{place}/mine/extend", "environment.extend", {"until": later})
    await walk.change(Environment, {"name": "mine"}, phase="running")
    said: dict[str, Any] = {"saved": [], "failed": [], "program": None}
    walk.ops.servers.before_stop = AsyncMock(return_value=said)  # type: ignore[method-assign]
    await walk.step("POST", f"{place}/mine/checkpoint", "environment.checkpoint")
    await walk.step("DELETE", f"{place}/mine?owner=ana", "environment.stop_set", who="root")
    await walk.step("DELETE", f"{place}/mine?owner=ana&now=true&reason=a", "environment.stop", who="root")


async def turns(walk: Walk) -> None:
    """The pages of a server that waits, starts or has ended."""
    form = {"name": "page", "profile": "cpu", "lifetime_s": "3600"}
    await walk.step("POST", f"{BASE}/spawn", "environment.request", form={**form, "id": new_id()})
    await walk.step("POST", f"{BASE}/wait/page/stop", "environment.stop")
    await walk.change(Environment, {"name": "page"}, phase="stopped")
    await walk.step("POST", f"{BASE}/wait/page/again", "environment.request", form={"id": new_id()})
    for name, path in (("held", f"{API}/environments/held/start"), ("held2", f"{BASE}/wait/held2/start")):
        body = {"id": new_id(), "name": name, "profile": "cpu"}
        await walk.step("POST", f"{API}/environments", "environment.request", body)
        until = walk.ops.clock() + timedelta(hours=1)
        await walk.change(Environment, {"name": name}, phase="held", held_until=until)
        await walk.step("POST", path, "environment.take")
    # Of the scarcest profile there is one: who comes second waits.
    found = await walk.ops.profiles.list(Person("ana", scopes=frozenset({USE})))
    scarce = next(one.name for one in found if one.total == 1)
    for name in ("first", "second"):
        body = {"id": new_id(), "name": name, "profile": scarce}
        made = await walk.step("POST", f"{API}/environments", "environment.request", body)
    assert made["phase"] == "waiting"
    asked = {"id": new_id(), "profile": "cpu"}
    await walk.step("POST", f"{BASE}/wait/second/instead", "environment.request", form=asked)


async def jobs(walk: Walk) -> None:
    """Code, and what runs it."""
    await walk.step("PUT", f"{API}/snapshots/{DIGEST}", "snapshot.upload", content=PACKED)
    ask = {"name": "fit", "snapshot": DIGEST, "entry": "train.py", "profile": "cpu"}
    await walk.step("POST", f"{API}/training/jobs", "job.submit", {**ask, "id": new_id()})
    await walk.step("DELETE", f"{API}/training/jobs/fit", "job.stop")
    await walk.step("POST", f"{API}/training/jobs", "job.submit", {**ask, "id": new_id(), "name": "done"})


async def models(walk: Walk, mlflow: Settings) -> None:
    """A model, and what serves it."""
    ana = walk.ops.mlflow.acting("ana")
    experiment = await ana.experiment("ana/default")
    run = await ana.create_run(experiment, "made", {}, 1000)
    save_model(mlflow, "ana", experiment, run, {"MLmodel": b"x"})
    await walk.change(Job, {"name": "done"}, state="succeeded", wanted="stop", run_id=run)
    await walk.step("POST", f"{API}/models", "model.register", {"name": "digits", "job": "done"})
    await walk.step("PUT", f"{API}/models/digits/aliases/champion", "model.alias", {"version": 1})
    place, trial = f"{API}/endpoints", {"version": 1, "percent": 10}
    body = {"id": new_id(), "name": "numbers", "model": "digits", "version": 1}
    await walk.step("POST", place, "endpoint.deploy", body)
    for end, who in (("promote", "root"), ("rollback", "ana")):
        await walk.change(Replica, {"role": "champion"}, phase="ready")
        await walk.step("POST", f"{place}/numbers/canary", "endpoint.canary", {"id": new_id(), **trial}, who=who)
        await walk.change(Replica, {"role": "canary"}, phase="ready")
        await walk.step("POST", f"{place}/numbers/{end}", f"endpoint.{end}", who=who)
    await walk.step("DELETE", f"{place}/numbers", "endpoint.delete")
    told = await walk.ops.store.read(
        lambda session: session.scalars(select(Event.on_behalf_of).where(Event.verb == "endpoint.promote")).all()
    )
    assert list(told) == ["ana"], "an administrator did it, and of whose it was is told"


async def schedules(walk: Walk) -> None:
    """By the API and by the pages."""
    place = f"{API}/schedules"
    for name in ("nightly", "daily"):
        await walk.step("POST", place, "schedule.create", {**SCHEDULE, "id": new_id(), "name": name})
    await walk.step("POST", f"{place}/nightly/pause", "schedule.pause")
    await walk.step("POST", f"{place}/nightly/resume", "schedule.resume")
    await walk.step("POST", f"{place}/nightly/run", "execution.ask", {"id": new_id()})
    await walk.step("DELETE", f"{place}/nightly/executions/1", "execution.stop")
    await walk.step("DELETE", f"{place}/nightly", "schedule.delete")
    page = f"{BASE}/schedules/daily"
    await walk.step("POST", f"{page}/pause", "schedule.pause")
    await walk.step("POST", f"{page}/resume", "schedule.resume")
    await walk.step("POST", f"{page}/run", "execution.ask", form={"id": new_id()})
    await walk.step("POST", f"{page}/1/stop", "execution.stop")
    await walk.step("POST", f"{page}/delete", "schedule.delete")


async def shares(walk: Walk) -> None:
    """Servers and notebooks."""
    row = {
        "id": new_id(),
        "owner": "ana",
        "name": "default",
        "profile": "cpu",
        "phase": "running",
        "lease_id": "l",
    }
    await walk.ops.store.run(lambda session: session.add(Environment(**row, asked_at=walk.ops.clock())))
    walk.ops.servers.recall = Mock(return_value=(object(), ""))  # type: ignore[method-assign]
    walk.ops.servers.watches_guests = AsyncMock(return_value=True)  # type: ignore[method-assign]
    walk.ops.shares.why_not = AsyncMock(return_value=None)
    mine = f"{API}/environments/default/shares"
    await walk.step("POST", mine, "environment.share", {"with": "ben"})
    await walk.step("DELETE", f"{mine}?with=ben", "environment.unshare")
    await walk.step("POST", f"{BASE}/share/default/add", "environment.share", form={"with": "ben"})
    await walk.step("POST", f"{BASE}/share/default/remove", "environment.unshare", form={"with": "ben"})
    home = walk.ops.settings.folder.users / "ana"
    home.mkdir(parents=True)
    (home / "a.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    body = {"environment": "default", "path": "a.ipynb", "with": "ben"}
    made = await walk.step("POST", f"{API}/shares/notebooks", "notebook.share", body)
    await walk.step("DELETE", f"{API}/shares/notebooks/{made['id']}", "notebook.unshare")
    await walk.step("POST", f"{BASE}/shared/add", "notebook.share", form=body)
    shown = await walk.client.get(f"{API}/shares/notebooks", headers=bearer(walk.tokens["ana"]))
    await walk.step("POST", f"{BASE}/shared/{shown.json()[0]['id']}/remove", "notebook.unshare")


async def rest(walk: Walk) -> None:
    """Tokens, limits, and GPUs for pods outside."""
    made = await walk.step("POST", f"{API}/tokens", "token.mint", {})
    await walk.step("DELETE", f"{API}/tokens/{made['id']}", "token.revoke")
    await walk.step("PUT", f"{API}/quotas", "quota.set", {"kind": "user", "name": "ana", "gpus": 4}, who="root")
    budget = {"kind": "team", "name": "vision", "amount": 1000}
    await walk.step("PUT", f"{API}/budgets", "budget.set", budget, who="root")
    pod = {"namespace": "ml", "podName": "a", "workloadType": "training", "useMig": False, "requiredMemoryGb": 8}
    given = await walk.step("POST", f"{API}/gpu/allocations", "ticket.ask", pod, who="ana")
    await walk.step("DELETE", f"{API}/gpu/allocations/{given['id']}", "lease.end")
    device = next(one.uuid for one in (await walk.ops.inventory.look()).devices if "H100" in one.name)
    cut = {"profiles": ["3g.40gb"]}
    await walk.step("POST", f"{API}/gpu/devices/{device}/mig", "gpu.cut", cut, who="root")


async def organisation(walk: Walk) -> None:
    """Teams, keys, GPUs out of use, and where notices go."""
    await walk.step("PUT", f"{API}/organisation", "team.set", {"text": "teams:\n  speech: {}\n"}, who="root")
    await walk.step("PUT", f"{API}/teams/sound", "team.set", {"projects": ["a"]}, who="root")
    await walk.step("DELETE", f"{API}/teams/sound", "team.remove", who="root")
    key = await walk.step("POST", f"{API}/keys", "token.mint", {"name": "ci", "scopes": ["read"]})
    await walk.step("DELETE", f"{API}/keys/{key['id']}", "token.revoke")
    device = (await walk.ops.inventory.look()).devices[0].uuid
    await walk.step("POST", f"{API}/devices/{device}/cordon", "device.cordon", {"message": "fan"}, who="root")
    await walk.step("POST", f"{API}/devices/{device}/drain", "device.cordon", {}, who="root")
    await walk.step("POST", f"{API}/devices/{device}/uncordon", "device.open", who="root")
    hook, mine, page = "jsons://example.org/hook", f"{API}/me/notices/channels", f"{BASE}/notices/channels"
    ids = new_id(), new_id()
    await walk.step("POST", mine, "notices.channel_add", {"id": ids[0], "url": hook})
    await walk.step("DELETE", f"{mine}/{ids[0]}", "notices.channel_remove")
    await walk.step("POST", page, "notices.channel_add", form={"id": ids[1], "url": hook})
    await walk.step("POST", f"{page}/{ids[1]}/remove", "notices.channel_remove")


def test_the_fixture_application_is_the_real_one(ops: Operations) -> None:
    assert writing(application(ops)) >= set(EXEMPT)
