"""A portal whose logins somebody else checks, for the tests of OIDC and LDAP: small, with quick questions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dure.wire.ids import new_id
from tests.e2e.portal import free_port, until
from tests.support.hub import stub_command
from tests.support.short_portal import ShortPortal

CHECK_S, NOTICE_S = 5, 15
TEAM = "vision"


@dataclass
class LoginSite(ShortPortal):
    """Envoy, hub and portal; people's servers are a stub."""

    clients: list[httpx.Client] = field(default_factory=list)

    def hub_user(self, name: str) -> dict[str, Any]:
        """What the hub says of a person; empty where it knows nobody of that name."""
        secret = (self.data / "secrets" / "portal-token").read_text().strip()
        address = f"{self.url}/hub/api/users/{name}"
        answer = httpx.get(address, headers={"Authorization": f"token {secret}"}, timeout=60)
        return dict(answer.json()) if answer.status_code == 200 else {}

    def speak_as(self, name: str) -> httpx.Client:
        """A client of the API with one token of this person's, for as long as the portal is up."""
        self.clients.append(self.client(name))
        return self.clients[-1]

    def login(self, name: str) -> dict[str, Any]:
        """What the portal says of this person's login."""
        with self.client("root") as api:
            found = api.get("/logins").raise_for_status().json()
        return next((dict(one) for one in found if one["name"] == name), {})

    def start(self, api: httpx.Client, **more: Any) -> dict[str, Any]:
        """The default server of whose client this is, once it runs."""
        ask = {"id": new_id(), "profile": "cpu", "lifetime_s": 7200, **more}
        api.post("/environments", json=ask).raise_for_status()
        until(lambda: seen(api)["phase"] == "running", lambda: f"a server: {seen(api)}{self.logs()}", timeout=90)
        return seen(api)

    def close(self) -> None:
        """End all of it."""
        for client in self.clients:
            client.close()
        self.down()


def seen(api: httpx.Client) -> dict[str, Any]:
    """The default server of whose client this is."""
    return dict(api.get("/environments/default").raise_for_status().json())


def make_site(folder: Path, **environment: str) -> LoginSite:
    """One that is not up yet. `root` is an administrator by name."""
    return LoginSite(
        folder / "data",
        free_port(),
        {
            "DURE_LANGUAGE": "en",
            "DURE_OIDC_ADMINS": json.dumps(["root"]),
            "DURE_LOGIN_CHECK_S": str(CHECK_S),
            "DURE_LOGIN_NOTICE_S": str(NOTICE_S),
            "DURE_LOOK_INTERVAL_S": "0.5",
            "DURE_SERVER_COMMAND": json.dumps(stub_command()),
            "DURE_CPU_PROFILE_CORES": "0.01",
            "DURE_CPU_PROFILE_MEMORY_MB": "64",
            "DURE_MEMORY_RESERVED_MB": "0",
            "DURE_STOP_GRACE_S": "3",
            "DURE_BEFORE_STOP_S": "0",
            **environment,
        },
    )
