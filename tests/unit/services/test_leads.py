"""What a lead of a team sees and ends: what is charged to it, and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.people import USE
from dure_hub.services.places import API
from dure_hub.store.models import Endpoint, Job, Schedule, TeamLead, Ticket
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub

SERVER_SCOPE = "access:servers!server=lea/"


def someone(hub: StubHub, name: str, *teams: str, scopes: tuple[str, ...] = ()) -> dict[str, str]:
    token = hub.person(name)
    hub.tokens[token]["groups"] = list(teams)
    hub.tokens[token]["scopes"] += scopes
    return bearer(token)


@pytest.fixture
async def people(anyone: httpx.AsyncClient, ops: Operations, hub: StubHub) -> dict[str, dict[str, str]]:
    """Lea leads red; ana is in red and ben in blue, each with a server, a job, a schedule and an endpoint."""
    with ops.store.transaction() as session:
        session.add(TeamLead(team="red", name="lea"))
        session.add(TeamLead(team="blue", name="lea"))  # from before: she is in it no more
    headers = {
        "lea": someone(hub, "lea", "red"),
        "ana": someone(hub, "ana", "red"),
        "ben": someone(hub, "ben", "blue"),
    }
    for name in ("ana", "ben"):
        asked = {"id": new_id(), "profile": "cpu"}
        made = await anyone.post(f"{API}/environments", json=asked, headers=headers[name])
        assert made.status_code == 202
    for name, team in (("ana", "red"), ("ben", "blue")):
        with ops.store.transaction() as session:
            _work(session, ops, name, team)
    return headers


def _work(session: Any, ops: Operations, name: str, team: str) -> None:
    """A job that waits, a schedule and an endpoint of this person, as rows."""
    now, job = ops.clock(), new_id()
    ticket = {"subject": job, "profile": "cpu", "asked_at": now, "verdict": {}, "state": "waiting", "priority": 0}
    kept = {"snapshot": "0" * 64, "profile": "cpu", "created_at": now}
    session.add(Ticket(id=job, owner=name, team=team, purpose="training", queue_class=3, reclaims=False, **ticket))
    session.add(
        Job(id=job, owner=name, name="fit", state="queued", entry="a.py", experiment="x", ticket_id=job, **kept)
    )
    more = {"notebook": "a.ipynb", "cron": "0 9 * * *", "timezone": "UTC", "limit_s": 60, "next_at": now}
    session.add(
        Schedule(id=new_id(), owner=name, name="daily", team=team, parameters={"secret": 1}, **more, **kept)
    )
    session.add(
        Endpoint(
            id=new_id(), name=f"of-{name}", owner=name, team=team, model="m", state="ready", profile="cpu",
            created_at=now,
        )
    )  # fmt: skip


LISTS = ["/environments", "/training/jobs", "/schedules", "/gpu/allocations"]


async def test_a_lead_sees_what_is_charged_to_the_team(
    anyone: httpx.AsyncClient, people: dict[str, dict[str, str]]
) -> None:
    lea = people["lea"]
    assert (await anyone.get(f"{API}/me", headers=lea)).json()["leads"] == ["red"]
    for path in LISTS[:3]:
        found = (await anyone.get(f"{API}{path}?team=red", headers=lea)).json()
        assert [one["owner"] for one in found] == ["ana"], path
    (daily,) = (await anyone.get(f"{API}/schedules?team=red", headers=lea)).json()
    assert daily["parameters"] == {}
    assert (await anyone.get(f"{API}/environments/default?owner=ana", headers=lea)).status_code == 200
    queue = (await anyone.get(f"{API}/queue", headers=lea)).json()
    assert {one["owner"] for one in queue} == {"ana", None}
    events = (await anyone.get(f"{API}/events?limit=500", headers=lea)).json()
    assert {one["on_behalf_of"] or one["actor"] for one in events} == {"ana"}
    assert "environment:ana/default" in {one["object"] for one in events}


@pytest.mark.parametrize("path", LISTS)
async def test_nobody_else_does_and_a_lead_sees_no_other_team(
    anyone: httpx.AsyncClient, people: dict[str, dict[str, str]], path: str
) -> None:
    for who, team in (("lea", "blue"), ("ana", "red"), ("ben", "red")):
        answer = await anyone.get(f"{API}{path}?team={team}", headers=people[who])
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert (await anyone.get(f"{API}/events", headers=people["ana"])).status_code == 403


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/environments/default"),
        ("DELETE", "/environments/default"),
        ("DELETE", "/training/jobs/fit"),
        ("GET", "/schedules/daily"),
        ("POST", "/schedules/daily/pause"),
        ("DELETE", "/schedules/daily/executions/1"),
        ("GET", "/environments/none"),
        ("DELETE", "/training/jobs/none"),
        ("GET", "/schedules/none"),
    ],
)
async def test_what_is_another_teams_is_refused_whether_it_is_there_or_not(
    anyone: httpx.AsyncClient, people: dict[str, dict[str, str]], verb: str, path: str
) -> None:
    for who, owner in (("lea", "ben"), ("ana", "ben"), ("ben", "ana")):
        answer = await anyone.request(verb, f"{API}{path}?owner={owner}", headers=people[who])
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed"), (who, owner)


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/environments/default/usage", None),
        ("GET", "/environments/default/progress", None),
        ("POST", "/environments/default/checkpoint", None),
        ("POST", "/environments/default/extend", {"until": "2099-01-01T00:00:00Z"}),
        ("GET", "/environments/default/shares", None),
        ("POST", "/schedules/daily/resume", None),
        ("DELETE", "/schedules/daily", None),
        ("GET", "/schedules/daily/executions", None),
        ("GET", "/schedules/daily/executions/1/logs", None),
        ("GET", "/schedules/daily/executions/1/notebook", None),
        ("POST", "/schedules/daily/run", {"id": new_id()}),
    ],
)
async def test_what_is_in_it_is_the_owners_and_not_the_leads(
    anyone: httpx.AsyncClient, people: dict[str, dict[str, str]], verb: str, path: str, body: Any
) -> None:
    answer = await anyone.request(verb, f"{API}{path}?owner=ana", headers=people["lea"], json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


async def test_a_lead_changes_no_limits(anyone: httpx.AsyncClient, people: dict[str, dict[str, str]]) -> None:
    for path, body in (
        ("/quotas", {"kind": "team", "name": "red", "gpus": 9}),
        ("/budgets", {"kind": "team", "name": "red", "amount": 9}),
        ("/teams/red", {"members": ["lea"]}),
        ("/organisation", {"text": "teams: {}"}),
    ):
        assert (await anyone.put(f"{API}{path}", json=body, headers=people["lea"])).status_code == 403
    assert (await anyone.get(f"{API}/organisation", headers=people["lea"])).status_code == 403


async def test_a_lead_ends_what_is_the_teams_with_a_reason_that_the_owner_reads(
    anyone: httpx.AsyncClient, ops: Operations, people: dict[str, dict[str, str]]
) -> None:
    lea, ana = people["lea"], people["ana"]
    why = "owner=ana&reason=the+deadline"
    assert (await anyone.delete(f"{API}/training/jobs/fit?{why}", headers=lea)).status_code == 204
    job = (await anyone.get(f"{API}/training/jobs/fit", headers=ana)).json()
    said = "A lead of its team stopped it (lea: the deadline)."
    assert (job["state"], job["reason"]) == ("stopped", said)
    assert "팀 리드" in job["reason_text"]["ko"]
    assert (await anyone.post(f"{API}/schedules/daily/pause?owner=ana", headers=lea)).json()["paused"]
    assert (await anyone.delete(f"{API}/environments/default?{why}&now=true", headers=lea)).status_code == 204
    server = (await anyone.get(f"{API}/environments/default", headers=ana)).json()
    assert server["reason"] == said
    assert (await anyone.delete(f"{API}/endpoints/of-ben", headers=lea)).status_code == 403
    assert (await anyone.delete(f"{API}/endpoints/of-ana?reason=the+deadline", headers=lea)).status_code == 204
    with ops.store.reading() as session:
        ended = session.scalars(select(Endpoint).where(Endpoint.name == "of-ana")).one()
    assert ended.reason == "stopped_by_lead lea: the deadline"
    stopped = [one for one in (await anyone.get(f"{API}/events", headers=lea)).json() if one["actor"] == "lea"]
    assert {one["verb"] for one in stopped} >= {
        "job.stop",
        "environment.stop",
        "endpoint.delete",
        "schedule.pause",
    }
    assert {one["on_behalf_of"] for one in stopped} == {"ana"}


async def test_the_token_of_a_leads_server_or_job_leads_nothing(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, people: dict[str, dict[str, str]]
) -> None:
    server = someone(hub, "lea", "red", scopes=(SERVER_SCOPE,))
    assert (await anyone.get(f"{API}/me", headers=server)).json()["leads"] == []
    assert (await anyone.get(f"{API}/environments?team=red", headers=server)).status_code == 403
    _, text = await ops.tokens.mint(
        "lea", admin=False, scopes={USE}, purpose="job", lifetime_s=600, lease=new_id()
    )
    assert (await anyone.get(f"{API}/environments?team=red", headers=bearer(text))).status_code == 403
