"""Costs, budgets and quotas over the API, and what a used-up quota blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.services.places import API, BASE
from dure_hub.store.models import Lease
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_owners import DIGEST, PACKED


def person(hub: StubHub, name: str, *teams: str, admin: bool = False) -> dict[str, str]:
    token = hub.person(name, admin=admin)
    hub.tokens[token]["groups"] = list(teams)
    return bearer(token)


@pytest.fixture
def root(hub: StubHub) -> dict[str, str]:
    return person(hub, "root", admin=True)


def lease(ops: Operations, **more: Any) -> None:
    now = ops.clock()
    row = {
        "id": new_id(),
        "owner": "ana",
        "purpose": "notebook",
        "subject": "s",
        "profile": "gpu-full",
        "rate": 8_000_000,
        "gpus": 1000,
        "granted_at": now.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        **more,
    }
    with ops.store.transaction() as session:
        session.add(Lease(**row))


async def test_costs_are_of_ones_own_and_ones_teams(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str]
) -> None:
    lease(ops)
    lease(ops, owner="bob", team="red")
    for headers, seen in (
        (person(hub, "ana"), {"ana"}),
        (person(hub, "ana", "red"), {"ana", "bob"}),
        (root, {"ana", "bob"}),
    ):
        answer = await anyone.get(f"{API}/costs?by=user", headers=headers)
        assert {line["key"] for line in answer.json()["lines"]} == seen
    answer = await anyone.get(f"{API}/costs", params={"by": "weather"}, headers=root)
    assert (answer.status_code, answer.json()["error"]["facts"]["field"]) == (422, "by")
    answer = await anyone.get(f"{API}/costs", params={"from": "2026-02-01T00:00:00"}, headers=root)
    assert (answer.status_code, answer.json()["error"]["facts"]["field"]) == (422, "from")
    korean = {**root, "Accept-Language": "ko"}
    answer = await anyone.get(f"{API}/costs", params={"zone": "Mars/Base"}, headers=korean)
    assert "시간대 이름" in answer.json()["error"]["message"]


async def test_administrators_set_budgets_and_each_change_is_an_event(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str]
) -> None:
    body = {"kind": "team", "name": "red", "amount": 100_000_000}
    answer = await anyone.put(f"{API}/budgets", json=body, headers=person(hub, "ana", "red"))
    assert answer.status_code == 403
    answer = await anyone.put(f"{API}/budgets", json=body, headers=root)
    assert (answer.status_code, answer.json()["amount"], answer.json()["set_by"]) == (200, 100_000_000, "root")
    for headers, seen in ((person(hub, "ana", "red"), 1), (person(hub, "eve", "blue"), 0), (root, 1)):
        assert len((await anyone.get(f"{API}/budgets", headers=headers)).json()) == seen
    for _ in range(2):
        answer = await anyone.put(f"{API}/budgets", json={**body, "amount": None}, headers=root)
        assert (answer.status_code, answer.json()) == (200, None)
    events = (await anyone.get(f"{API}/events?object=budget:team/red", headers=root)).json()
    assert [event["verb"] for event in events] == ["budget.remove", "budget.set"]


@pytest.mark.parametrize(
    "change", [{"kind": "user"}, {"name": "a\nb"}, {"name": ""}, {"amount": 0}, {"amount": 2**60}, {"more": 1}]
)
async def test_a_budget_that_is_none_is_refused(
    anyone: httpx.AsyncClient, root: dict[str, str], change: dict[str, Any]
) -> None:
    body = {"kind": "team", "name": "red", "amount": 1, **change}
    assert (await anyone.put(f"{API}/budgets", json=body, headers=root)).status_code == 422


async def test_a_used_up_quota_blocks_calls_and_says_until_when(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str], ana: Browser
) -> None:
    body = {"kind": "team", "name": "red", "api_calls_day": 2}
    assert (await anyone.put(f"{API}/quotas", json=body, headers=root)).json()["api_calls_day"] == 2
    await ops.counters.flush()
    headers = person(hub, "ana", "red")
    answers = [await anyone.get(f"{API}/me", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    error = answers[-1].json()["error"]
    assert error["code"] == "over_quota"
    assert error["message"] == "The team red has used 2 of 2 API calls a day."
    assert error["facts"]["resets_at"]
    served = await anyone.get(f"{BASE}/check/serve/digits/", headers=headers)
    assert served.status_code == 429
    assert (await anyone.get(f"{API}/me", headers=ana.script())).status_code == 200
    assert (await anyone.get(f"{API}/me", headers=person(hub, "bob"))).status_code == 200
    assert (await anyone.get(f"{API}/me", headers=person(hub, "boss", "red", admin=True))).status_code == 200
    korean = await anyone.get(f"{API}/me", headers={**headers, "Accept-Language": "ko"})
    assert korean.json()["error"]["message"] == "red(팀)의 하루 API 호출 한도 2 중 3을(를) 썼습니다.", (
        "boss is counted too"
    )


async def test_uploads_are_counted_and_refused_beyond_the_quota(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str]
) -> None:
    headers = person(hub, "ana")
    path = f"{API}/snapshots/{DIGEST}"
    assert (await anyone.put(path, content=PACKED, headers=headers)).status_code == 204
    assert (await anyone.put(path, content=PACKED, headers=headers)).status_code == 204
    await ops.counters.flush()
    (quota,) = (await anyone.get(f"{API}/quotas", headers=headers)).json()
    assert quota["used_upload_mb"] == round(len(PACKED) / 2**20, 3)
    await anyone.put(f"{API}/quotas", json={"kind": "user", "name": "*", "upload_mb_month": 0}, headers=root)
    await ops.counters.flush()
    refused = await anyone.put(f"{API}/snapshots/{'0' * 64}", content=b"more", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "over_quota")
    assert not list(ops.settings.folder.uploads.iterdir())


async def test_an_upload_that_is_not_kept_is_given_back(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str]
) -> None:
    headers = person(hub, "ana", "red", "blue")
    await anyone.put(f"{API}/quotas", json={"kind": "team", "name": "red", "upload_mb_month": 1}, headers=root)
    await ops.counters.flush()

    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield bytes(1 << 18)

    broken = await anyone.put(f"{API}/snapshots/{'0' * 64}", content=pieces(3), headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "bad_snapshot")
    refused = await anyone.put(f"{API}/snapshots/{'0' * 64}", content=pieces(5), headers=headers)
    assert (refused.status_code, refused.json()["error"]["facts"]["name"]) == (429, "red")
    assert (await anyone.put(f"{API}/snapshots/{DIGEST}", content=PACKED, headers=headers)).status_code == 204
    await ops.counters.flush()
    found = (await anyone.get(f"{API}/quotas", headers=headers)).json()
    assert [(one["name"], one["used_upload_mb"]) for one in found] == [
        (name, round(len(PACKED) / 2**20, 3)) for name in ("ana", "blue", "red")
    ]


async def test_quotas_show_what_is_used_and_go_away_without_a_limit(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, root: dict[str, str]
) -> None:
    lease(ops, team="red", slices=[])
    headers = person(hub, "ana", "red")
    body = {"kind": "team", "name": "red", "gpus": 1, "gpu_hours_month": 10_000}
    assert (await anyone.put(f"{API}/quotas", json=body, headers=headers)).status_code == 403
    assert (await anyone.put(f"{API}/quotas", json=body, headers=root)).status_code == 200
    own, team = (await anyone.get(f"{API}/quotas", headers=headers)).json()
    assert (own["name"], own["gpus"], own["used_gpus"], own["set_by"]) == ("ana", None, 1, None)
    assert (team["name"], team["gpus"], team["used_gpus"], team["near"]) == ("red", 1, 1, {"gpus": 100})
    gone = await anyone.put(f"{API}/quotas", json={"kind": "team", "name": "red"}, headers=root)
    assert gone.json() is None
    events = (await anyone.get(f"{API}/events?object=quota:team/red", headers=root)).json()
    assert [event["verb"] for event in events] == ["quota.remove", "quota.set"]


async def test_a_forecast_and_recommendations_come_with_their_sentences(
    anyone: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    answer = await anyone.get(f"{API}/forecast?team=red", headers=root)
    assert (answer.status_code, answer.json()["code"]) == (200, "too_few_days")
    assert set(answer.json()["text"]) == {"en", "ko"}
    assert (await anyone.get(f"{API}/recommendations", headers=root)).json() == []
