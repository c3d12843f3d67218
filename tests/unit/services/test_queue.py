"""`GET /queue`: everybody sees the line, and only what is theirs of whose it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure_hub.operations import Operations
from dure_hub.policies import promises
from dure_hub.policies.refused import NODE, QUEUE, QUOTA, refused
from dure_hub.store.models import Quota, Ticket
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_allocations import ask
from tests.unit.services.test_gpu import client as client
from tests.unit.services.test_gpu import ops as ops


async def lines(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = await client.get("/queue", headers=headers)
    assert answer.status_code == 200, answer.text
    said: list[dict[str, Any]] = answer.json()
    return said


async def test_the_line_is_in_order_and_says_why(client: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben = bearer(hub.person("ana")), bearer(hub.person("ben"))
    assert await lines(client, ana) == []
    large = {"useMig": True, "requiredMemoryGb": 70}
    first = await ask(client, ana, podName="a", **large)
    await ask(client, ana, podName="b", **large)
    await ask(client, ben, podName="c", workloadType="urgent-inference", **large)
    seen = await lines(client, ana)
    assert [(one["queue_class"], one["position"], one["mine"]) for one in seen] == [
        ("urgent_inference", 1, False),
        ("training", 2, True),
    ]
    urgent, own = seen
    assert (urgent["owner"], urgent["next_best"]) == (None, None)
    assert own["owner"] == "ana"
    assert own["next_best"].startswith("mig-7g.80gb-h100")
    # when the first one has ended at the latest, with what a promise allows for
    until, asked = (datetime.fromisoformat(one) for one in (first["until"], urgent["asked_at"]))
    assert datetime.fromisoformat(urgent["expected_start"]) == promises.latest(until, asked)
    assert own["why"]["en"].startswith("Every slice for mig-7g.80gb-a100-sxm-80 is in use")
    assert "사용 중" in own["why"]["ko"]
    root = bearer(hub.person("root", admin=True))
    assert [one["owner"] for one in await lines(client, root)] == ["ben", "ana"]


async def test_whose_quota_it_waits_for_is_not_told_to_others(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ana, ben = bearer(hub.person("ana")), bearer(hub.person("ben"))
    with ops.store.transaction() as session:
        session.add(Quota(kind="user", name="ana", gpus=1, set_by="root", set_at=ops.clock()))
    await ask(client, ana, podName="a")
    await ask(client, ana, podName="b")
    (own,), (other,) = await lines(client, ana), await lines(client, ben)
    assert own["why"]["en"] == "The quota of the user ana is 1 GPUs at once, and 1.0 are in use."
    assert (own["position"], other["position"]) == (1, 1), "its place is kept while its quota is used up"
    assert "ana" not in str(other)
    assert other["why"]["en"] == "It waits for the quota of its owner or team."


@pytest.mark.parametrize(
    ("code", "facts", "others"),
    [
        (QUEUE, {"queue": "dure-vision"}, "It waits for the quota of its owner or team."),
        (QUOTA, {"quota": "dure", "namespace": "dure-vision"}, "It waits for the quota of its owner or team."),
        (NODE, {"node": "dure-vision"}, "It waits for a node that takes it, or that has its owner's home."),
    ],
)
async def test_what_a_cluster_says_of_a_request_is_told_to_who_may_see_it(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub, code: str, facts: dict[str, str], others: str
) -> None:
    ana, ben = bearer(hub.person("ana")), bearer(hub.person("ben"))
    for name in ("a", "b"):
        await ask(client, ana, podName=name, useMig=True, requiredMemoryGb=70)
    until, facts = ops.clock() + timedelta(hours=1), {**facts, "why": "insufficient unused quota"}
    with ops.store.transaction() as session:
        for ticket in session.scalars(select(Ticket).where(Ticket.state == "waiting")):
            ticket.verdict = refused(code, until, **facts).to_json()
    own, other = (await lines(client, ana))[-1], (await lines(client, ben))[-1]
    assert all(word in own["why"]["en"] for word in facts.values())
    assert other["why"]["en"] == others
    assert "dure-vision" not in str(other)
