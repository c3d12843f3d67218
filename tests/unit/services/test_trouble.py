"""Pages and API where GPUs are out of use, and where the disk is nearly full."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations import Operations, closures
from dure_hub.policies.devices import FAULT
from dure_hub.policies.disk import MIB
from dure_hub.services.places import API, BASE
from dure_hub.settings import Settings
from dure_hub.store.models import Event, Lease
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_forms import fields


@pytest.fixture
async def ops(template: Path, hub: StubHub, tmp_path: Path) -> AsyncIterator[Operations]:
    """A portal of a simulated DGX."""
    root = tmp_path / "data"
    shutil.copytree(template, root)
    settings = Settings(data=root, hub_port=hub.port, instance="0123456789ab", simulated_fleet="dgx-h100")
    settings.save()
    made = operations(root)
    yield made
    await made.close()


async def _devices(anyone: httpx.AsyncClient, root: dict[str, str]) -> list[str]:
    answer = await anyone.get(f"{API}/devices", headers=root)
    return [one["uuid"] for one in answer.json()]


async def test_what_is_in_maintenance_is_shown_to_who_starts_a_server(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser, ops: Operations
) -> None:
    root = bearer(hub.person("root", admin=True))
    first, second, *_ = await _devices(anyone, root)
    ask = {"until": "2031-01-31T18:00:00+09:00", "message": "new fans <b>"}
    for uuid in (first, second):
        answer = await anyone.post(f"{API}/devices/{uuid}/cordon", json=ask, headers=root)
        assert (answer.status_code, answer.json()["state"]) == (200, "cordoned")
    page = await anyone.get(f"{BASE}/spawn", headers=ana.navigate())
    assert "2 of 8<br>" in page.text
    assert "2 in maintenance until" in unescape(page.text)
    assert '<time datetime="2031-01-31T09:00:00Z"' in page.text, "in the viewer's zone by the page's script"
    assert "new fans &lt;b&gt;" in page.text
    fleet = (await anyone.get(f"{API}/fleet", headers=root)).json()
    assert {one["uuid"] for one in fleet["devices"] if one["state"] == "cordoned"} == {first, second}
    answer = await anyone.post(f"{API}/devices/{first}/uncordon", headers=root)
    assert answer.json()["state"] == "healthy"
    with ops.store.reading() as session:
        verbs = {(event.verb, event.actor) for event in session.query(Event).filter(Event.verb.like("device.%"))}
    assert verbs == {("device.cordon", "root"), ("device.open", "root")}


async def test_a_fault_is_told_apart_from_maintenance_and_has_no_date(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser, ops: Operations
) -> None:
    root = bearer(hub.person("root", admin=True))
    first, second, *_ = await _devices(anyone, root)
    ask = {"until": "2031-01-31T18:00:00+09:00"}
    for uuid in (first, second):
        (await anyone.post(f"{API}/devices/{uuid}/cordon", json=ask, headers=root)).raise_for_status()
    with ops.store.transaction() as session:
        closures.close(session, second, FAULT, "xid", ops.clock(), "dure", facts={"xid": 79})
    page = await anyone.get(f"{BASE}/spawn", headers=ana.navigate())
    assert "1 with a fault<" in page.text
    assert "1 in maintenance until" in unescape(page.text)


async def test_who_waits_reads_that_gpus_are_out_of_use(
    anyone: httpx.AsyncClient, hub: StubHub, ops: Operations
) -> None:
    root, ana = bearer(hub.person("root", admin=True)), bearer(hub.person("ana"))
    for uuid in await _devices(anyone, root):
        (await anyone.post(f"{API}/devices/{uuid}/cordon", json={}, headers=root)).raise_for_status()
    profiles = (await anyone.get(f"{API}/profiles", headers=ana)).json()
    assert {one["closed_kinds"].get("maintenance") for one in profiles if one["gpus"]} == {8}
    whole = next(one["name"] for one in profiles if one["gpus"] == 1)
    ask = {"id": new_id(), "profile": whole}
    waits = (await anyone.post(f"{API}/environments", json=ask, headers=ana)).json()
    assert (
        waits["ticket"]["why"]["en"] == f"Nothing is free for {whole}; 8 of the GPUs of its kind are out of use."
    )
    (entry,) = (await anyone.get(f"{API}/queue", headers=ana)).json()
    assert entry["why"] == waits["ticket"]["why"]


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("drain", {"until": "2020-01-01T00:00:00Z"}, 422, "too_little_notice"),
        ("drain", {"now": True}, 422, "say_why"),
        ("cordon", {"until": "2031-01-01T00:00:00"}, 422, None),
        ("cordon", {"message": "two\nlines"}, 422, None),
        ("cordon", {"message": "x" * 301}, 422, None),
        ("cordon", {"unheard": 1}, 422, None),
    ],
)
async def test_what_cannot_be_asked_changes_nothing(
    anyone: httpx.AsyncClient, hub: StubHub, verb: str, body: dict[str, object], status: int, code: str | None
) -> None:
    root = bearer(hub.person("root", admin=True))
    uuid = (await _devices(anyone, root))[0]
    answer = await anyone.post(f"{API}/devices/{uuid}/{verb}", json=body, headers=root)
    assert answer.status_code == status
    assert code is None or answer.json()["error"]["code"] == code
    states = (await anyone.get(f"{API}/devices", headers=root)).json()
    assert {one["state"] for one in states} == {"healthy"}


async def test_with_a_full_disk_the_form_comes_back_with_the_reason_and_uploads_are_refused(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser, ops: Operations
) -> None:
    form = await anyone.get(f"{BASE}/spawn", headers=ana.navigate())
    ops.disk._usage = lambda _path: (30 * MIB, 1000 * MIB)
    page = await anyone.post(f"{BASE}/spawn", data=fields(form.text), headers=ana.navigate())
    assert page.status_code == 507
    assert "has 3.0 % (30 MiB) free. Nothing new starts below" in unescape(page.text)
    assert "Largest: not counted yet" in unescape(page.text)
    assert '<span class="choice-title">' in page.text, "the form is there as it was"
    assert "data-start><strong>now</strong>" not in page.text.replace("\n", ""), "no card promises a start"
    assert "has 3.0 % free" in unescape((await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text)
    caller = bearer(hub.person("ana"))
    shown = (await anyone.get(f"{API}/disk", headers=caller)).json()
    assert (shown["starts"], shown["free_percent"], shown["homes"]) == (False, 3.0, [])
    upload = await anyone.put(f"{API}/snapshots/{'0' * 64}", content=b"x", headers=caller)
    assert (upload.status_code, upload.json()["error"]["code"]) == (507, "disk_low")
    job = {"id": new_id(), "name": "a", "podName": "a", "namespace": "a", "requiredMemoryGb": 10}
    pod = {key: job[key] for key in ("podName", "namespace", "requiredMemoryGb")}
    answer = await anyone.post(f"{API}/gpu/allocations", json=pod, headers=caller)
    assert answer.status_code == 202, "a pod elsewhere writes nothing here"


async def test_a_leases_log_is_its_owners_and_administrators(
    anyone: httpx.AsyncClient, hub: StubHub, ops: Operations
) -> None:
    lease, at = new_id(), datetime(2026, 1, 1, tzinfo=UTC)
    more = {"purpose": "notebook", "subject": "s", "profile": "cpu", "team": "vision"}
    with ops.store.transaction() as session:
        session.add(Lease(id=lease, owner="ana", granted_at=at, ended_at=at, **more))
    folder = ops.settings.folder.lease_logs
    folder.mkdir(parents=True)
    (folder / f"{lease}.log").write_text("what it said\n" * 40_000)
    url = f"{API}/leases/{lease}/logs"
    for person in (hub.person("ana"), hub.person("root", admin=True)):
        page = (await anyone.get(url, headers=bearer(person))).json()
        assert page["text"].startswith("what it said\n")
        assert not page["done"], "reading is bounded in size"
        assert len(page["text"]) <= 256 * 1024
        rest = (await anyone.get(url, params={"offset": -6}, headers=bearer(person))).json()
        assert (rest["text"], rest["done"]) == (" said\n", True)
    assert (await anyone.get(url, headers=bearer(hub.person("ben")))).status_code == 404
