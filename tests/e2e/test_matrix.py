"""Who may do what to whose things: every route of a running portal, for nobody, another, a lead, an administrator, the owner.

Two of them ask in browsers of their own, with what a login there gave them; the other two by token.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIRequestContext, Browser

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until
from tests.support.notebooks import notebook
from tests.support.zips import zipped

pytestmark = pytest.mark.timeout(900)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
BASE = "/services/dure"
DIGEST, PACKED = zipped({"train.py": "print('hello')", "a.ipynb": notebook("print(a)", parameters="a = 1")})
NONE = "01J00000000000000000000000"
ROLES = ("nobody", "other", "lead", "administrator", "owner")
"""In this order each row is asked, so that whoever must be refused is so before anybody has changed something."""


@dataclass(frozen=True)
class Row:
    """A call, and what it answers each of `ROLES`.

    `{server}`, `{job}` … are things of the owner's, made anew for each who asks; `{of}` says whose, for the others.
    """

    verb: str
    path: str
    answers: tuple[int, int, int, int, int]
    body: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None


def request_of(name: str) -> dict[str, Any]:
    """A start of a server."""
    return {"id": new_id(), "name": name, "profile": "cpu", "team": "vision"}


def schedule_of() -> dict[str, Any]:
    """A schedule."""
    asked = {"id": new_id(), "name": new_id().lower(), "snapshot": DIGEST, "notebook": "a.ipynb"}
    return {**asked, "cron": "0 9 * * *"}


def pod() -> dict[str, Any]:
    """A GPU for a pod."""
    wanted = {"namespace": "ml", "podName": new_id().lower(), "workloadType": "training"}
    return {**wanted, "useMig": False, "requiredMemoryGb": 8}


def later() -> dict[str, Any]:
    """An end of a server."""
    return {"until": (datetime.now(UTC) + timedelta(hours=9)).isoformat()}


ROWS: list[Row] = [
    Row("GET", "/about", (0, 0, 0, 0, 0)),
    Row("GET", "/me", (0, 0, 0, 0, 0)),
    Row("GET", "/profiles", (0, 0, 0, 0, 0)),
    Row("GET", "/profiles/offers", (0, 0, 0, 0, 0)),
    Row("GET", "/profiles/cpu/plan", (0, 0, 0, 0, 0)),
    Row("GET", "/environments", (0, 0, 0, 0, 0)),
    Row("GET", "/environments?team=vision", (0, 0, 0, 0, 0)),
    Row("GET", "/environments?everyone=true", (0, 0, 0, 0, 0)),
    Row("POST", "/environments", (0, 0, 0, 0, 0), lambda: request_of(new_id().lower())),
    Row("GET", "/environments/{server}{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/environments/{server}/progress{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/environments/{server}/usage{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/environments/{server}/start", (0, 0, 0, 0, 0)),
    Row("POST", "/environments/{server}/activity", (0, 0, 0, 0, 0), {"kernels": "idle"}),
    Row("POST", "/environments/{server}/checkpoint{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/environments/{server}/extend{of}", (0, 0, 0, 0, 0), later),
    Row("DELETE", "/environments/{server}{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/environments/{server}/shares{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/environments/{server}/shares{of}", (0, 0, 0, 0, 0), {"with": "zoe"}),
    Row("DELETE", "/environments/{server}/shares{of_with}", (0, 0, 0, 0, 0)),
    Row("POST", "/training/jobs", (0, 0, 0, 0, 0), lambda: {"id": new_id(), "name": new_id().lower(), "snapshot": DIGEST, "entry": "train.py"}),
    Row("GET", "/training/jobs", (0, 0, 0, 0, 0)),
    Row("GET", "/training/jobs?team=vision", (0, 0, 0, 0, 0)),
    Row("GET", "/training/jobs/{job}", (0, 0, 0, 0, 0)),
    Row("GET", "/training/jobs/{job}/logs", (0, 0, 0, 0, 0)),
    Row("DELETE", "/training/jobs/{job}{of_why}", (0, 0, 0, 0, 0)),
    Row("PUT", "/snapshots/{digest}", (0, 0, 0, 0, 0)),
    Row("HEAD", "/snapshots/{digest}", (0, 0, 0, 0, 0)),
    Row("GET", "/models", (0, 0, 0, 0, 0)),
    Row("POST", "/models", (0, 0, 0, 0, 0), {"name": "m", "job": "none"}),
    Row("GET", "/models/none/versions", (0, 0, 0, 0, 0)),
    Row("PUT", "/models/none/aliases/champion", (0, 0, 0, 0, 0), {"version": 1}),
    Row("GET", "/endpoints", (0, 0, 0, 0, 0)),
    Row("POST", "/endpoints", (0, 0, 0, 0, 0), lambda: {"id": new_id(), "name": "e", "model": "m", "version": 1}),
    Row("GET", "/endpoints/none", (0, 0, 0, 0, 0)),
    Row("DELETE", "/endpoints/none", (0, 0, 0, 0, 0)),
    Row("POST", "/endpoints/none/canary", (0, 0, 0, 0, 0), lambda: {"id": new_id(), "version": 1}),
    Row("POST", "/endpoints/none/promote", (0, 0, 0, 0, 0)),
    Row("POST", "/endpoints/none/rollback", (0, 0, 0, 0, 0)),
    Row("POST", "/schedules", (0, 0, 0, 0, 0), schedule_of),
    Row("GET", "/schedules", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules?team=vision", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules?everyone=true", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules/{schedule}{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/schedules/{schedule}/pause{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/schedules/{schedule}/resume{of}", (0, 0, 0, 0, 0)),
    Row("POST", "/schedules/{schedule}/run{of}", (0, 0, 0, 0, 0), lambda: {"id": new_id()}),
    Row("GET", "/schedules/{schedule}/executions{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules/{execution}{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules/{execution}/logs{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/schedules/{execution}/notebook{of}", (0, 0, 0, 0, 0)),
    Row("DELETE", "/schedules/{execution}{of}", (0, 0, 0, 0, 0)),
    Row("DELETE", "/schedules/{schedule}{of}", (0, 0, 0, 0, 0)),
    Row("GET", "/shares/notebooks", (0, 0, 0, 0, 0)),
    Row("POST", "/shares/notebooks", (0, 0, 0, 0, 0), {"environment": "none", "path": "a.ipynb", "with": "ben"}),
    Row("DELETE", "/shares/notebooks/01J00000000000000000000000", (0, 0, 0, 0, 0)),
    Row("POST", "/tokens", (0, 0, 0, 0, 0), {}),
    Row("DELETE", "/tokens/{token}", (0, 0, 0, 0, 0)),
    Row("GET", "/keys", (0, 0, 0, 0, 0)),
    Row("GET", "/keys?owner=ana", (0, 0, 0, 0, 0)),
    Row("POST", "/keys", (0, 0, 0, 0, 0), lambda: {"name": new_id().lower(), "scopes": ["read"]}),
    Row("DELETE", "/keys/{key}", (0, 0, 0, 0, 0)),
    Row("GET", "/logins", (0, 0, 0, 0, 0)),
    Row("GET", "/events", (0, 0, 0, 0, 0)),
    Row("GET", "/events/export", (0, 0, 0, 0, 0)),
    Row("GET", "/me/notices", (0, 0, 0, 0, 0)),
    Row("POST", "/me/notices/seen", (0, 0, 0, 0, 0), {"ids": []}),
    Row("GET", "/me/notices/settings", (0, 0, 0, 0, 0)),
    Row("PUT", "/me/notices/settings", (0, 0, 0, 0, 0), {}),
    Row("POST", "/me/notices/channels", (0, 0, 0, 0, 0), lambda: {"id": new_id(), "url": "jsons://example.org/hook"}),
    Row("DELETE", "/me/notices/channels/{channel}", (0, 0, 0, 0, 0)),
    Row("POST", "/me/notices/test", (0, 0, 0, 0, 0)),
    Row("GET", "/notices/failures", (0, 0, 0, 0, 0)),
    Row("GET", "/fleet", (0, 0, 0, 0, 0)),
    Row("GET", "/devices", (0, 0, 0, 0, 0)),
    Row("POST", "/devices/none/cordon", (0, 0, 0, 0, 0), {}),
    Row("POST", "/devices/none/drain", (0, 0, 0, 0, 0), {}),
    Row("POST", "/devices/none/uncordon", (0, 0, 0, 0, 0)),
    Row("GET", "/disk", (0, 0, 0, 0, 0)),
    Row("GET", "/leases/{lease}/logs", (0, 0, 0, 0, 0)),
    Row("GET", "/gpu/overview", (0, 0, 0, 0, 0)),
    Row("GET", "/gpu/devices", (0, 0, 0, 0, 0)),
    Row("GET", "/gpu/devices/none", (0, 0, 0, 0, 0)),
    Row("POST", "/gpu/devices/none/mig", (0, 0, 0, 0, 0), {"profiles": []}),
    Row("POST", "/gpu/allocations", (0, 0, 0, 0, 0), pod),
    Row("GET", "/gpu/allocations", (0, 0, 0, 0, 0)),
    Row("GET", "/gpu/allocations?team=vision", (0, 0, 0, 0, 0)),
    Row("GET", "/gpu/allocations/{allocation}", (0, 0, 0, 0, 0)),
    Row("DELETE", "/gpu/allocations/{allocation}", (0, 0, 0, 0, 0)),
    Row("GET", "/queue", (0, 0, 0, 0, 0)),
    Row("GET", "/metrics", (0, 0, 0, 0, 0)),
    Row("GET", "/costs", (0, 0, 0, 0, 0)),
    Row("GET", "/costs?by=user", (0, 0, 0, 0, 0)),
    Row("GET", "/forecast", (0, 0, 0, 0, 0)),
    Row("GET", "/forecast?team=vision", (0, 0, 0, 0, 0)),
    Row("GET", "/recommendations", (0, 0, 0, 0, 0)),
    Row("GET", "/budgets", (0, 0, 0, 0, 0)),
    Row("PUT", "/budgets", (0, 0, 0, 0, 0), {"kind": "team", "name": "vision", "amount": 1000}),
    Row("GET", "/quotas", (0, 0, 0, 0, 0)),
    Row("PUT", "/quotas", (0, 0, 0, 0, 0), {"kind": "user", "name": "zoe", "gpus": 2}),
    Row("GET", "/organisation", (0, 0, 0, 0, 0)),
    Row("PUT", "/organisation", (0, 0, 0, 0, 0), {"text": "users: {}"}),
    Row("GET", "/teams", (0, 0, 0, 0, 0)),
    Row("PUT", "/teams/speech", (0, 0, 0, 0, 0), {}),
    Row("DELETE", "/teams/speech", (0, 0, 0, 0, 0)),
]


def _of(whose: str, *more: str) -> str:
    words = [*([f"owner={whose}"] if whose else []), *more]
    return "?" + "&".join(words) if words else ""


OF: Mapping[str, Callable[[str], str]] = {
    "of": _of,
    "of_with": lambda whose: _of(whose, "with=zoe"),
    "of_why": lambda whose: _of(whose, "reason=a"),
}
"""Whose it is, for who is not its owner."""


class Things:
    """Makes what rows are about, as its owner does."""

    def __init__(self, portal: Portal, owner: httpx.Client) -> None:
        self.portal, self.owner, self.made = portal, owner, 0
        owner.put(f"/snapshots/{DIGEST}", content=PACKED).raise_for_status()

    def fill(self, path: str, of: str) -> str:
        """The path with a new thing in each of its places."""
        for kind in re.findall(r"{(\w+)}", path):
            place = "{" + kind + "}"
            path = path.replace(place, OF[kind](of) if kind in OF else getattr(self, kind)())
        return path

    def digest(self) -> str:
        """A snapshot that is there."""
        return DIGEST

    def name(self) -> str:
        """One that was not used yet."""
        self.made += 1
        return f"a{self.made}"

    def server(self) -> str:
        """One that runs."""
        name = self.name()
        self.owner.post("/environments", json=request_of(name)).raise_for_status()
        until(
            lambda: self.owner.get(f"/environments/{name}").json()["phase"] == "running",
            lambda: self.owner.get(f"/environments/{name}").text,
        )
        return name

    def job(self) -> str:
        """One that was asked for."""
        name = self.name()
        body = {"id": new_id(), "name": name, "snapshot": DIGEST, "entry": "train.py", "team": "vision"}
        self.owner.post("/training/jobs", json=body).raise_for_status()
        return name

    def schedule(self) -> str:
        """One of each morning."""
        name = self.name()
        body = {"id": new_id(), "name": name, "snapshot": DIGEST, "notebook": "a.ipynb", "cron": "0 9 * * *"}
        self.owner.post("/schedules", json={**body, "team": "vision"}).raise_for_status()
        return name

    def execution(self) -> str:
        """The first of a new schedule."""
        name = self.schedule()
        self.owner.post(f"/schedules/{name}/run", json={"id": new_id()}).raise_for_status()
        return f"{name}/executions/1"

    def allocation(self) -> str:
        """A GPU for a pod."""
        body = {"namespace": "ml", "podName": self.name(), "workloadType": "training", "useMig": False}
        made = self.owner.post("/gpu/allocations", json={**body, "requiredMemoryGb": 8, "team": "vision"})
        return str(made.raise_for_status().json()["id"])

    def lease(self) -> str:
        """That of a server."""
        return str(self.owner.get(f"/environments/{self.server()}").json()["lease"]["id"])

    def token(self) -> str:
        """One's own."""
        return str(self.owner.post("/tokens", json={}).raise_for_status().json()["id"])

    def key(self) -> str:
        """A machine's."""
        made = self.owner.post("/keys", json={"name": self.name(), "scopes": ["read"]})
        return str(made.raise_for_status().json()["id"])

    def channel(self) -> str:
        """Where notices go."""
        made = {"id": new_id(), "url": "jsons://example.org/hook"}
        self.owner.post("/me/notices/channels", json=made).raise_for_status()
        return made["id"]


@dataclass
class Asker:
    """One role: a browser that is logged in, or a token."""

    role: str
    portal: Portal
    browser: APIRequestContext | None = None
    csrf: str = ""
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, verb: str, path: str, body: Mapping[str, Any] | None, raw: bytes | None) -> int:
        """The status of the answer."""
        if self.browser is not None:
            url = f"{self.portal.url}{BASE}{path}"
            data = raw if raw is not None else None if body is None else json.dumps(body)
            kind = {} if data is None or raw is not None else {"Content-Type": "application/json"}
            sent = {"x-dure-csrf": self.csrf, **kind}
            return self.browser.fetch(url, method=verb, headers=sent, data=data, max_redirects=0).status
        known = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        url = f"{self.portal.url}/api/v1{path}"
        return httpx.request(verb, url, headers=known, json=body, content=raw, timeout=60).status_code


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Ana owns, ben leads the team that pays, zoe is in another one. Their servers are small."""
    made = make_portal(
        tmp_path_factory.mktemp("matrix"),
        DURE_SIMULATED_FLEET="workstation",
        DURE_SERVERS_PER_PERSON="100",
        DURE_LOOK_INTERVAL_S="0.3",
        DURE_BEFORE_STOP_S="0",
        DURE_WARM_STARTS="false",
        DURE_CPU_PROFILE_CORES="0.01",
        DURE_CPU_PROFILE_MEMORY_MB="64",
        DURE_SERVER_COMMAND=json.dumps([sys.executable, "-I", "-S", str(STUB)]),
    )
    try:
        made.up()
        for name in ("ana", "ben", "zoe"):
            made.add_user(name)
        with made.client("admin") as admin:
            for team, body in (("vision", {"members": ["ana", "ben"], "leads": ["ben"]}), ("audio", {"members": ["zoe"]})):
                admin.put(f"/teams/{team}", json=body).raise_for_status()
        yield made
    finally:
        made.down()


def in_browser(chromium: Browser, site: Portal, role: str, name: str) -> Asker:
    """Logged in by the form, in a browser of one's own."""
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.goto(f"{site.url}/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[type=password]").fill(site.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/services/dure/**")
    page.goto(f"{site.url}{BASE}/spawn")
    csrf = page.locator("input[name=csrf]").first.input_value()
    return Asker(role, site, browser=context.request, csrf=csrf)


def test_x(site, chromium):
    owner = site.client("ana")
    things = Things(site, owner)
    askers = [Asker("nobody", site), in_browser(chromium, site, "other", "zoe"), Asker("lead", site, token=site.token("ben")),
              Asker("administrator", site, token=site.token("admin")), in_browser(chromium, site, "owner", "ana")]
    out = open("/tmp/mx/actual.txt", "w")
    for row in ROWS:
        got = []
        for asker in askers:
            try:
                path = things.fill(row.path, "" if asker.role == "owner" else "ana")
            except Exception as e:
                got.append(repr(e)[:80]); continue
            body = row.body() if callable(row.body) else row.body
            got.append(asker.ask(row.verb, path, body, PACKED if row.verb == "PUT" and "/snapshots/" in path else None))
        out.write(f"{row.verb} {row.path} {tuple(got)}\n"); out.flush()
