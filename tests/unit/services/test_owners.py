"""What is somebody's is nobody else's, and not even seen to exist."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.executionfiles import EXECUTED, ExecutionFolder
from dure_hub.operations.people import USE
from dure_hub.services.places import API, BASE
from tests.support.notebooks import notebook
from tests.support.zips import zipped
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

DIGEST, PACKED = zipped({"train.py": "print('hello')", "a.ipynb": notebook("print(a)", parameters="a = 1")})


async def ask(client: httpx.AsyncClient, token: str, verb: str, path: str, body: Any = None) -> httpx.Response:
    """One call of a person."""
    return await client.request(verb, API + path, json=body, headers=bearer(token))


async def test_a_server_is_its_owners(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben, root = hub.person("ana"), hub.person("ben"), hub.person("root", admin=True)
    made = await ask(anyone, ana, "POST", "/environments", {"id": new_id(), "name": "mine", "profile": "cpu"})
    assert made.status_code == 202, made.text
    assert made.json()["owner"] == "ana"

    assert (await ask(anyone, ana, "GET", "/environments/mine")).status_code == 200
    for other in (ben, root):
        assert (await ask(anyone, other, "GET", "/environments")).json() == []
        assert (await ask(anyone, other, "GET", "/environments/mine")).status_code == 404
        assert (await ask(anyone, other, "DELETE", "/environments/mine")).status_code == 404
    assert (await ask(anyone, ben, "GET", "/environments?everyone=true")).status_code == 403
    everyone = (await ask(anyone, root, "GET", "/environments?everyone=true")).json()
    assert [server["owner"] for server in everyone] == ["ana"]
    assert (await ask(anyone, ana, "DELETE", "/environments/mine")).status_code == 204


async def test_an_administrator_acts_for_an_owner_and_nobody_else_does(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    ana, ben, root = hub.person("ana"), hub.person("ben"), hub.person("root", admin=True)
    made = await ask(anyone, ana, "POST", "/environments", {"id": new_id(), "name": "mine", "profile": "cpu"})
    end = {"until": made.json()["extendable_until"]}
    for verb, path, body in (
        ("GET", "/environments/mine?owner=ana", None),
        ("POST", "/environments/mine/extend?owner=ana", end),
        ("DELETE", "/environments/mine?owner=ana&now=true&reason=mine", None),
    ):
        refused = await ask(anyone, ben, verb, path, body)
        assert refused.status_code == 403
        assert "ben may not do this" in refused.json()["error"]["message"]
    for wrong in ("a\nb", "x" * 201, "\u202eevil", "\x1b[2J"):
        answer = await ask(anyone, root, "DELETE", "/environments/mine?owner=ana&now=true&reason=" + quote(wrong))
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request"), wrong
    extended = await ask(anyone, root, "POST", "/environments/mine/extend?owner=ana", end)
    assert (extended.status_code, extended.json()["lease"]["until"]) == (200, end["until"]), extended.text
    too_late = await ask(anyone, ana, "POST", "/environments/mine/extend", {"until": "2099-01-01T00:00:00Z"})
    assert (too_late.status_code, too_late.json()["error"]["code"]) == (422, "end_too_late")
    no_zone = await ask(anyone, ana, "POST", "/environments/mine/extend", {"until": "2099-01-01T00:00:00"})
    assert no_zone.status_code == 422
    stopped = await ask(
        anyone, root, "DELETE", "/environments/mine?owner=ana&now=true&reason=" + quote("고장 난 GPU")
    )
    assert stopped.status_code == 204
    seen = (await ask(anyone, ana, "GET", "/environments/mine")).json()
    assert seen["reason_text"]["ko"] == "관리자가 종료했습니다(root: 고장 난 GPU)."
    events = (await ask(anyone, root, "GET", "/events?object=environment:ana/mine")).json()
    assert [(event["verb"], event["actor"]) for event in events[:2]] == [
        ("environment.stop", "root"),
        ("environment.extend", "root"),
    ]
    assert events[0]["verdict"]["why"] == "고장 난 GPU"


async def test_a_request_sent_twice_is_one(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, body = hub.person("ana"), {"id": new_id(), "profile": "cpu"}
    first = await ask(anyone, ana, "POST", "/environments", body)
    again = await ask(anyone, ana, "POST", "/environments", body)
    assert (first.status_code, again.status_code) == (202, 202)
    assert len((await ask(anyone, ana, "GET", "/environments")).json()) == 1


async def test_a_job_is_its_owners(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben = hub.person("ana"), hub.person("ben")
    put = await anyone.put(f"{API}/snapshots/{DIGEST}", content=PACKED, headers=bearer(ana))
    assert put.status_code == 204, put.text
    assert (await anyone.head(f"{API}/snapshots/{DIGEST}", headers=bearer(ana))).status_code == 204
    wanted = {"id": new_id(), "name": "first", "snapshot": DIGEST, "entry": "train.py"}
    made = await ask(anyone, ana, "POST", "/training/jobs", wanted)
    assert made.status_code == 202, made.text

    assert [job["name"] for job in (await ask(anyone, ana, "GET", "/training/jobs")).json()] == ["first"]
    assert (await ask(anyone, ben, "GET", "/training/jobs")).json() == []
    for verb, path in (("GET", ""), ("GET", "/logs"), ("DELETE", "")):
        assert (await ask(anyone, ben, verb, f"/training/jobs/first{path}")).status_code == 404
    assert (await ask(anyone, ana, "GET", "/training/jobs/first")).status_code == 200


async def test_a_minted_token_is_its_owner_without_rights_to_make_more(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    root, ben = hub.person("root", admin=True), hub.person("ben")
    made = (await ask(anyone, root, "POST", "/tokens", {"purpose": "my laptop", "lifetime_s": 3600})).json()
    assert made["token"].startswith("dure_")

    assert (await ask(anyone, made["token"], "GET", "/me")).json()["name"] == "root"
    assert (await ask(anyone, made["token"], "GET", "/events")).status_code == 403
    another = await ask(anyone, made["token"], "POST", "/tokens", {})
    assert (another.status_code, another.json()["error"]["code"]) == (403, "no_token_from_token")
    assert (await ask(anyone, ben, "DELETE", f"/tokens/{made['id']}")).status_code == 404
    assert (await ask(anyone, made["token"], "GET", "/me")).status_code == 200
    assert (await ask(anyone, root, "DELETE", f"/tokens/{made['id']}")).status_code == 204
    assert (await ask(anyone, made["token"], "GET", "/me")).status_code == 401


async def test_a_jobs_token_starts_nothing_that_outlives_the_job(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    _, token = await ops.tokens.mint(
        "ana", admin=False, scopes=[USE], purpose="job", lifetime_s=600, lease=new_id(), actor="portal"
    )
    job = {"id": new_id(), "name": "more", "snapshot": "0" * 64, "entry": "train.py"}
    for path, body in (
        ("/training/jobs", job),
        ("/environments", {"id": new_id(), "profile": "cpu"}),
        ("/environments/default/extend", {"until": "2026-01-01T12:00:00Z"}),
        ("/endpoints", {"id": new_id(), "name": "digits", "model": "digits", "version": 1}),
        ("/endpoints/digits/canary", {"id": new_id(), "version": 2}),
        (
            "/schedules",
            {"id": new_id(), "name": "a", "snapshot": "0" * 64, "notebook": "a.ipynb", "cron": "* * * * *"},
        ),
        ("/schedules/nightly/run", {"id": new_id()}),
        ("/tokens", {}),
    ):
        answer = await ask(anyone, token, "POST", path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_for_jobs"), path
        korean = await anyone.post(API + path, json=body, headers={**bearer(token), "Accept-Language": "ko"})
        assert "작업보다 오래" in korean.json()["error"]["message"]
    form = await anyone.post(f"{BASE}/spawn", data={"id": new_id(), "profile": "cpu"}, headers=bearer(token))
    assert form.status_code == 403

    assert (await ask(anyone, token, "GET", "/me")).json()["name"] == "ana"
    assert (await ask(anyone, token, "GET", "/training/jobs")).status_code == 200
    registered = await ask(anyone, token, "POST", "/models", {"name": "digits", "job": "first"})
    assert registered.json()["error"]["code"] == "not_found", "let in; there is no such job"
    for behind in ("services/mlflow/api", "serve/digits/invocations"):
        passed = await anyone.post(f"{BASE}/check/{behind}", headers=bearer(token))
        assert (passed.status_code, passed.headers["x-dure-user"]) == (200, "ana")


async def scheduled(client: httpx.AsyncClient, token: str, **more: Any) -> httpx.Response:
    """The answer to a request for a schedule of the snapshot's notebook."""
    await client.put(f"{API}/snapshots/{DIGEST}", content=PACKED, headers=bearer(token))
    asked = {"id": new_id(), "name": "nightly", "snapshot": DIGEST, "notebook": "a.ipynb", "cron": "0 9 * * *"}
    return await ask(client, token, "POST", "/schedules", {**asked, **more})


async def test_a_scheduled_notebooks_token_trains_and_deploys_and_makes_nothing_else(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    assert (await scheduled(anyone, hub.person("ana"))).status_code == 201
    _, token = await ops.tokens.mint(
        "ana", admin=False, scopes=[USE], purpose="execution", lifetime_s=600, lease=new_id(), actor="portal"
    )
    assert (await scheduled(anyone, token, name="more")).json()["error"]["code"] == "not_for_executions"
    for verb, path, body in (
        ("POST", "/environments", {"id": new_id(), "profile": "cpu"}),
        ("POST", "/environments/default/extend", {"until": "2026-01-01T12:00:00Z"}),
        ("POST", "/tokens", {}),
        ("POST", "/schedules/nightly/run", {"id": new_id()}),
        ("POST", "/schedules/nightly/pause", None),
        ("POST", "/schedules/nightly/resume", None),
        ("DELETE", "/schedules/nightly", None),
        ("DELETE", "/schedules/nightly/executions/1", None),
    ):
        answer = await ask(anyone, token, verb, path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_for_executions"), path
    job = {"id": new_id(), "name": "first", "snapshot": DIGEST, "entry": "train.py"}
    assert (await ask(anyone, token, "POST", "/training/jobs", job)).status_code == 202
    endpoint = {"id": new_id(), "name": "digits", "model": "digits", "version": 1}
    for path, asked, expected in (
        ("/endpoints", endpoint, 503),  # let in; MLflow does not run here
        ("/endpoints/digits/canary", {"id": new_id(), "version": 2}, 404),
        ("/models", {"name": "digits", "job": "none"}, 404),
    ):
        assert (await ask(anyone, token, "POST", path, asked)).status_code == expected, path
    assert (await ask(anyone, token, "GET", "/schedules/nightly")).status_code == 200
    assert (await anyone.get(f"{BASE}/check/services/mlflow/api", headers=bearer(token))).status_code == 200

    _, mine = await ops.tokens.mint("ana", admin=False, scopes=[USE], purpose="execution", lifetime_s=600)
    named_so = await ask(anyone, mine, "POST", "/environments", {"id": new_id(), "profile": "cpu"})
    assert named_so.status_code == 202, "a token of one's own, whatever it is called"


async def test_a_schedule_is_its_owners(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben, root = hub.person("ana"), hub.person("ben"), hub.person("root", admin=True)
    wrong = await scheduled(anyone, ana, parameters={"x=1\nimport os": 1})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "parameter_name")
    assert (await ask(anyone, ana, "GET", "/schedules")).json() == []
    made = await scheduled(anyone, ana, parameters={"a": 2})
    assert (made.status_code, made.json()["parameters"]) == (201, {"a": 2}), made.text
    execution = await ask(anyone, ana, "POST", "/schedules/nightly/run", {"id": new_id()})
    assert (execution.status_code, execution.json()["number"]) == (202, 1), execution.text

    for verb, path in (
        *(("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("GET", "/executions")),
        *(("GET", "/executions/1"), ("DELETE", "/executions/1")),
        *(("GET", "/executions/1/logs"), ("GET", "/executions/1/notebook")),
    ):
        for other in (ben, root):
            assert (await ask(anyone, other, verb, f"/schedules/nightly{path}")).status_code == 404, path
        refused = await ask(anyone, ben, verb, f"/schedules/nightly{path}?owner=ana")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed"), path
    assert (await ask(anyone, ben, "GET", "/schedules?everyone=true")).status_code == 403
    everyone = (await ask(anyone, root, "GET", "/schedules?everyone=true")).json()
    assert [(one["owner"], one["name"]) for one in everyone] == [("ana", "nightly")]
    assert (await ask(anyone, root, "GET", "/schedules/nightly/executions/1?owner=ana")).status_code == 200
    assert (await ask(anyone, root, "POST", "/schedules/nightly/pause?owner=ana")).json()["paused"] is True
    assert (await ask(anyone, root, "DELETE", "/schedules/nightly?owner=ana")).status_code == 204
    assert (await ask(anyone, ana, "GET", "/schedules/nightly")).status_code == 404


async def test_an_executed_notebook_is_handed_out_as_a_file(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ana = hub.person("ana")
    await scheduled(anyone, ana)
    made = (await ask(anyone, ana, "POST", "/schedules/nightly/run", {"id": new_id()})).json()
    path = "/schedules/nightly/executions/1/notebook"
    assert (await ask(anyone, ana, "GET", path)).status_code == 404, "nothing has run"
    folder = ExecutionFolder(ops.settings, made["id"])
    folder.create()
    (folder.outputs / EXECUTED).write_text('{"nbformat": 4}')
    answer = await ask(anyone, ana, "GET", path)
    assert (answer.status_code, answer.json()) == (200, {"nbformat": 4})
    assert answer.headers["content-type"] == "application/x-ipynb+json"
    assert answer.headers["content-disposition"] == 'attachment; filename="nightly-1.ipynb"'


async def test_a_token_is_made_only_for_whom_the_hub_knows_now(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser
) -> None:
    ben = hub.person("ben")
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 201
    assert (await anyone.get(f"{API}/me", headers=ana.script())).status_code == 200
    hub.away = True
    assert (await ask(anyone, ben, "GET", "/me")).status_code == 200, "still remembered"
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 503
    hub.away = False
    hub.tokens.clear()
    assert (await ask(anyone, ben, "GET", "/me")).status_code == 200, "still remembered"
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 401
    by_cookie = await anyone.post(f"{API}/tokens", json={}, headers=ana.script(x_dure_csrf=ana.csrf))
    assert by_cookie.status_code == 401


async def test_where_a_version_comes_from_is_not_for_people_to_write(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    body = {"name": "digits", "job": "first", "tags": {"note": "mine", "dure.git_commit": "0123abc"}}
    answer = await ask(anyone, hub.person("ana"), "POST", "/models", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "reserved_tag")
    assert answer.json()["error"]["facts"]["tag"] == "dure.git_commit"


async def test_an_administrator_reads_what_happened(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, root = hub.person("ana"), hub.person("root", admin=True)
    await ask(anyone, ana, "POST", "/tokens", {"purpose": "x"})
    events = (await ask(anyone, root, "GET", "/events")).json()
    assert [(event["actor"], event["verb"]) for event in events] == [("ana", "token.mint")]
    assert "dure_" not in str(events)
