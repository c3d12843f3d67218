"""A real Keycloak for an optional test: its distribution is in the folder that `DURE_TEST_KEYCLOAK` names.

It needs Java and a minute, so it is no part of the usual run. The folder is the ZIP that Maven knows as
`org.keycloak:keycloak-quarkus-dist`, unpacked.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.portal import free_port, until

REALM = Path(__file__).parents[2] / "docs" / "keycloak" / "dure-realm.json"
ADMIN, PASSWORD = "admin", "admin-secret"


@dataclass
class Keycloak:
    """A server with the realm of the guide in it."""

    url: str

    @property
    def issuer(self) -> str:
        """What the portal's setting names."""
        return f"{self.url}/realms/dure"

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The administrators' API of the realm."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN, "password": PASSWORD}
        token = httpx.post(f"{self.url}/realms/master/protocol/openid-connect/token", data=form, timeout=30)
        headers = {"Authorization": f"Bearer {token.raise_for_status().json()['access_token']}"}
        answer = httpx.request(method, f"{self.url}/admin/realms/dure{path}", headers=headers, timeout=30, **more)
        return answer.raise_for_status()

    def client_secret(self, redirect: str) -> str:
        """The secret that Keycloak made for the portal's client, which comes back to `redirect` from now on."""
        client = self.ask("GET", "/clients", params={"clientId": "dure"}).json()[0]
        self.ask("PUT", f"/clients/{client['id']}", json={**client, "redirectUris": [redirect]})
        return str(self.ask("GET", f"/clients/{client['id']}/client-secret").json()["value"])

    def add_person(self, name: str, password: str, groups: list[str]) -> str:
        """Somebody who may log in; their id."""
        about = {"email": f"{name}@example.org", "firstName": name, "lastName": name, "emailVerified": True}
        credentials = [{"type": "password", "value": password, "temporary": False}]
        person = {"username": name, "enabled": True, "groups": groups, "credentials": credentials, **about}
        self.ask("POST", "/users", json=person)
        return str(self.ask("GET", "/users", params={"username": name}).json()[0]["id"])

    def enable(self, person: str, on: bool) -> None:
        """As an administrator of Keycloak does."""
        self.ask("PUT", f"/users/{person}", json={"enabled": on})

    def leave(self, person: str, group: str) -> None:
        """Take a person out of a group."""
        groups = self.ask("GET", f"/users/{person}/groups").json()
        self.ask("DELETE", f"/users/{person}/groups/{next(one['id'] for one in groups if one['name'] == group)}")


@contextmanager
def running(folder: Path) -> Iterator[Keycloak]:
    """Start one, and end it. Skips where none is named."""
    given = os.environ.get("DURE_TEST_KEYCLOAK")
    if not given:
        pytest.skip("DURE_TEST_KEYCLOAK names no Keycloak")
    home = folder / "keycloak"
    shutil.copytree(given, home, ignore=shutil.ignore_patterns("data"))
    (home / "data" / "import").mkdir(parents=True)
    shutil.copy(REALM, home / "data" / "import")
    port, log = free_port(), folder / "keycloak.log"
    command = [str(home / "bin" / "kc.sh"), "start-dev", "--http-host=127.0.0.1", f"--http-port={port}"]
    environment = {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--import-realm"],
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,  # a shell that starts Java
        )
    made = Keycloak(f"http://127.0.0.1:{port}")

    def up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"Keycloak ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            return httpx.get(f"{made.issuer}/.well-known/openid-configuration", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(up, "Keycloak", timeout=240, every=0.5)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
