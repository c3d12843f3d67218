"""Notices by API and on their page: read, marked, set, and no address shown again."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.store.events import PORTAL, record
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

PAGE, API = "/services/dure/notices", "/services/dure/api/v1"
SECRET = "s3cret-in-the-path"


async def fails(ops: Operations, name: str = "digits", owner: str = "ana") -> None:
    """A job of somebody's, who is told of it."""
    with ops.store.transaction() as session:
        record(session, ops.clock, PORTAL, "job.fail", f"job:{owner}/{name}", None, owner)
    await ops.notices.making.of_events()


async def opened(anyone: httpx.AsyncClient, ana: Browser, language: str = "en", path: str = PAGE) -> str:
    answer = await anyone.get(path, headers={**ana.navigate(), "Accept-Language": language})
    assert answer.status_code == 200
    return answer.text


async def sent(anyone: httpx.AsyncClient, ana: Browser, path: str, **form: str) -> httpx.Response:
    return await anyone.post(PAGE + path, headers=ana.navigate(), data={"csrf": ana.csrf, **form})


async def test_the_page_lists_what_is_new_and_marks_what_it_showed(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    assert "No notices yet" in await opened(anyone, ana)
    await fails(ops)
    page = await opened(anyone, ana)
    assert "The job digits has failed." in page
    assert page.count("data-unread") == 1
    assert 'href="/services/dure/" aria-label="Open where' in page, "at the address that the page was opened at"
    assert "1 unread" in await opened(anyone, ana, path="/services/dure/")
    through = re.search(r'name="through" value="(\w+)"', page)
    assert through is not None
    await fails(ops, "newer")
    assert (await sent(anyone, ana, "/seen", through=through[1])).status_code == 303
    page = await opened(anyone, ana, "ko")
    assert page.count("data-unread") == 1
    assert "작업 newer이(가) 실패했습니다." in page


async def test_what_people_wrote_is_text(anyone: httpx.AsyncClient, ops: Operations, ana: Browser) -> None:
    with ops.store.transaction() as session:
        facts = {"facts": {"lease": "1", "at": "2026-01-31T18:00:00+00:00", "why": "<script>alert(1)</script>"}}
        record(session, ops.clock, "root", "environment.stop_set", "environment:ana/a", facts, "ana")
    await ops.notices.making.of_events()
    page = await opened(anyone, ana)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<time datetime="2026-01-31T18:00:00Z" data-when>2026-01-31 18:00 UTC</time>' in page


async def test_an_address_is_added_shown_in_part_and_removed(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    added = await sent(anyone, ana, "/channels", id=new_id(), url=f"jsons://ana:pw@example.org/{SECRET}")
    assert added.status_code == 303
    page = await opened(anyone, ana)
    assert "jsons://example.org" in page
    assert SECRET not in page
    (channel,) = re.findall(r'data-channel="(\w+)"', page)
    assert (await sent(anyone, ana, f"/channels/{channel}/remove")).status_code == 303
    assert "data-channel" not in await opened(anyone, ana)


@pytest.mark.parametrize("url", [f"syslog://{SECRET}", f"nonsense {SECRET}", f"http://{SECRET}.example.org"])
async def test_a_wrong_address_is_refused_and_not_repeated(
    anyone: httpx.AsyncClient, ana: Browser, url: str
) -> None:
    answer = await sent(anyone, ana, "/channels", id=new_id(), url=url)
    assert answer.status_code == 422
    assert SECRET not in answer.text


async def test_how_one_is_told_is_kept(anyone: httpx.AsyncClient, ops: Operations, ana: Browser) -> None:
    form: dict[str, Any] = {"language": "ko", "timezone": "Asia/Seoul", "kind": ["turn", "ending"]}
    answer = await anyone.post(f"{PAGE}/settings", headers=ana.navigate(), data={"csrf": ana.csrf, **form})
    assert answer.status_code == 303
    got = await anyone.get(f"{API}/me/notices/settings", headers=ana.script())
    kept = got.json()
    assert (kept["language"], kept["timezone"], kept["mail"]) == ("ko", "Asia/Seoul", False)
    assert "job" in kept["off"]
    assert not {"turn", "ending", "test"} & set(kept["off"])
    wrong = await sent(anyone, ana, "/settings", timezone="Nowhere/City")
    assert wrong.status_code == 422


async def test_each_reads_and_marks_their_own(anyone: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
    ana, ben = bearer(hub.person("ana")), bearer(hub.person("ben"))
    await fails(ops)
    (one,) = (await anyone.get(f"{API}/me/notices", headers=ana)).json()
    assert (await anyone.get(f"{API}/me/notices", headers=ben)).json() == []
    marked = await anyone.post(f"{API}/me/notices/seen", headers=ben, json={"ids": [one["id"]]})
    assert marked.status_code == 204
    assert len((await anyone.get(f"{API}/me/notices?unseen=true", headers=ana)).json()) == 1
    await anyone.post(f"{API}/me/notices/seen", headers=ana, json={"through": one["id"]})
    assert (await anyone.get(f"{API}/me/notices?unseen=true", headers=ana)).json() == []


async def test_a_stop_at_once_needs_a_reason(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, root = bearer(hub.person("ana")), bearer(hub.person("root", admin=True))
    ask = {"id": new_id(), "name": "mine", "profile": "cpu"}
    assert (await anyone.post(f"{API}/environments", headers=ana, json=ask)).status_code == 202
    path = f"{API}/environments/mine?owner=ana"
    refused = await anyone.delete(f"{path}&now=true", headers={**root, "Accept-Language": "ko"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "reason_missing")
    assert "이유를 적어야" in refused.json()["error"]["message"]
    assert (await anyone.delete(f"{path}&reason=repair", headers=root)).status_code == 204
    seen = (await anyone.get(f"{API}/environments/mine", headers=ana)).json()
    assert (seen["stop_at"], seen["stop_text"]["en"]) == (
        seen["lease"]["until"],
        "An administrator ends this server (root: repair).",
    )
    later = {"until": "2099-01-01T00:00:00Z"}
    moved = await anyone.post(f"{API}/environments/mine/extend", headers=ana, json=later)
    assert moved.status_code in (409, 422)
