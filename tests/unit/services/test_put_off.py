"""A server whose end was put off says so on its owner's first page, with why and from when to when."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from dure_hub.operations import Operations
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.put_offs import VERB
from dure_hub.services import application
from dure_hub.services.places import API
from dure_hub.services.sessions import Session
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease
from tests.unit.services.conftest import ORIGIN, Browser, bearer
from tests.unit.services.stub_hub import StubHub


def put_off(session: Transaction, ops: Operations) -> None:
    """Ana's server runs, and its end was moved to ten minutes from now."""
    row = session.scalars(select(Environment)).one()
    lease = session.scalars(select(Lease)).one()
    now = ops.clock()
    row.phase = rows.RUNNING
    before, lease.until = lease.until, now + timedelta(minutes=10)
    assert before is not None
    facts = {"since": (now - timedelta(hours=3)).isoformat(), "away_s": 10800}
    told = {**facts, "before": before.isoformat(), "until": lease.until.isoformat()}
    record(session, now, PORTAL, VERB, rows.thing(row), {"code": "machine_slept", "facts": told}, "ana")


@pytest.mark.parametrize(
    ("language", "words"), [("en", "put off, since the machine slept"), ("ko", "머신이 절전 상태여서 미뤄짐")]
)
async def test_the_first_page_says_why(ops: Operations, hub: StubHub, language: str, words: str) -> None:
    app = application(ops)
    token = hub.person("ana", session="session-of-ana")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        ask = {"id": "01J00000000000000000000000", "profile": "cpu"}
        made = await client.post(f"{API}/environments", json=ask, headers=bearer(token))
        assert made.status_code == 202, made.text
        with ops.store.transaction() as session:
            put_off(session, ops)
        browser = Browser(app, Session.new(token), "session-of-ana")
        page = await client.get("/services/dure/", headers=browser.navigate(Accept_Language=language))
        seen = (await client.get(f"{API}/environments/default", headers=bearer(token))).json()
    assert words in page.text
    assert 'data-put-off="machine_slept"' in page.text
    assert seen["put_off"]["code"] == "machine_slept"
