"""Who may do what to whose things: every route of a running portal, for each of five roles.

Two of them ask in browsers of their own, with what a login there gave them; the other two by token.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIRequestContext, APIResponse, Browser

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until
from tests.support.matrix import DIGEST, PACKED, ROWS, named, request_of

pytestmark = pytest.mark.timeout(900)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
BASE = "/services/dure"
API = f"{BASE}/api/v1"
PLACE = re.compile(r"{\w+}")


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
    """Makes what rows are about, as its owner does; what nobody ends is made once."""

    def __init__(self, owner: httpx.Client, session: Asker) -> None:
        self.owner, self.session = owner, session
        self._shared: dict[str, str] = {}
        owner.put(f"/snapshots/{DIGEST}", content=PACKED).raise_for_status()

    def fill(self, path: str, of: str, *, new: bool) -> str:
        """The path with a thing in each of its places: a `new` one for who will end it."""
        for kind in re.findall(r"{(\w+)}", path):
            word = OF[kind](of) if kind in OF else self._thing(kind, new)
            path = path.replace("{" + kind + "}", word)
        return path

    def _thing(self, kind: str, new: bool) -> str:
        make: Callable[[], str] = getattr(self, kind)
        if new:
            return make()
        if kind not in self._shared:
            self._shared[kind] = make()
        return self._shared[kind]

    def digest(self) -> str:
        """A snapshot that is there."""
        return DIGEST

    def server(self) -> str:
        """One that runs."""
        name = named()
        self.owner.post("/environments", json=request_of(name)).raise_for_status()
        until(
            lambda: self.owner.get(f"/environments/{name}").json()["phase"] == "running",
            lambda: self.owner.get(f"/environments/{name}").text,
        )
        return name

    def job(self) -> str:
        """One that was asked for."""
        name = named()
        body = {"id": new_id(), "name": name, "snapshot": DIGEST, "entry": "train.py", "team": "vision"}
        self.owner.post("/training/jobs", json=body).raise_for_status()
        return name

    def schedule(self) -> str:
        """One of each morning."""
        name = named()
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
        body = {"namespace": "ml", "podName": named(), "workloadType": "training", "useMig": False}
        made = self.owner.post("/gpu/allocations", json={**body, "requiredMemoryGb": 8, "team": "vision"})
        return str(made.raise_for_status().json()["id"])

    def lease(self) -> str:
        """That of a server."""
        return str(self.owner.get(f"/environments/{self.server()}").json()["lease"]["id"])

    def token(self) -> str:
        """One's own."""
        return str(self.session.send("POST", "/tokens", {}).json()["id"])

    def key(self) -> str:
        """A machine's."""
        return str(self.session.send("POST", "/keys", {"name": named(), "scopes": ["read"]}).json()["id"])

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
            return self.send(verb, path, body, raw).status
        known = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        url = f"{self.portal.url}/api/v1{path}"
        return httpx.request(verb, url, headers=known, json=body, content=raw, timeout=60).status_code

    def send(self, verb: str, path: str, body: Mapping[str, Any] | None, raw: bytes | None = None) -> APIResponse:
        """With the cookies of a login, and the secret that its pages prove a write by."""
        assert self.browser is not None
        data = raw if raw is not None else None if body is None else json.dumps(body)
        kind = {} if data is None or raw is not None else {"Content-Type": "application/json"}
        sent = {"x-dure-csrf": self.csrf, **kind}
        url = f"{self.portal.url}{API}{path}"
        return self.browser.fetch(url, method=verb, headers=sent, data=data, max_redirects=0)


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
            for team, body in (
                ("vision", {"members": ["ana", "ben"], "leads": ["ben"]}),
                ("audio", {"members": ["zoe"]}),
            ):
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


def askers(chromium: Browser, site: Portal) -> list[Asker]:
    """One for each of the roles."""
    return [
        Asker("nobody", site),
        in_browser(chromium, site, "other", "zoe"),
        Asker("lead", site, token=site.token("ben")),
        Asker("administrator", site, token=site.token("admin")),
        in_browser(chromium, site, "owner", "ana"),
    ]


def test_every_route_answers_each_role_as_it_should(chromium: Browser, site: Portal) -> None:
    asking = askers(chromium, site)
    wrong = []
    with site.client("ana") as owner:
        things = Things(owner, asking[-1])
        for row in ROWS:
            for asker, expected in zip(asking, row.answers, strict=True):
                new = row.verb == "DELETE" and expected < 400
                path = things.fill(row.path, "" if asker.role == "owner" else "ana", new=new)
                body = row.body() if callable(row.body) else row.body
                raw = PACKED if row.verb == "PUT" and "/snapshots/" in path else None
                got = asker.ask(row.verb, path, body, raw)
                if got != expected:
                    wrong.append(f"{row.verb} {path} for {asker.role}: {got}, not {expected}")
    assert not wrong, "\n".join(wrong)


def _any(place: re.Match[str]) -> str:
    kind = place[0].strip("{}")
    return "" if kind in OF else "x/executions/1" if kind == "execution" else "x"


def test_every_route_of_the_running_portal_has_a_row(site: Portal) -> None:
    described = httpx.get(f"{site.url}/api/v1/openapi.json").json()["paths"]
    tried = {(row.verb, PLACE.sub(_any, row.path).partition("?")[0]) for row in ROWS}
    missing = []
    for path, verbs in described.items():
        place = path.removeprefix("/api/v1").removeprefix(API).removeprefix(BASE)
        pattern = re.compile(PLACE.sub("[^/]+", place))
        asked = {verb for verb, known in tried if pattern.fullmatch(known)}
        missing += [f"{verb} {place}" for verb in map(str.upper, verbs) if verb not in asked]
    assert len(described) > 60
    assert not missing
