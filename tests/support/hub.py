"""A real JupyterHub behind a real Envoy, without portal and MLflow; people's servers are a stub by default."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from dure_hub.dataplane import Dataplane
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from dure_hub.supervisor.prepare import make_secrets
from dure_hub.supervisor.services import portal_services, routes
from tests.e2e.portal import free_port, until
from tests.e2e.portal import mark_of as mark_of
from tests.support.warm import listening

STUB = Path(__file__).with_name("stub_server.py")


def stub_command(gate: Path | None = None) -> list[str]:
    """The stub as a `server_command`; it does not answer as long as `gate` exists."""
    return [sys.executable, "-I", "-S", str(STUB), *([str(gate)] if gate else [])]


@dataclass
class RealHub:
    """Envoy and hub of one data folder, each a process of its own."""

    settings: Settings
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    browsers: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The front port."""
        return self.settings.front_url

    def start(self, name: str) -> None:
        """Start `envoy`, `hub` or `warm` as the supervisor does, and wait until it answers."""
        service = next(s for s in portal_services(self.settings) if s.name == name)
        log = self.settings.folder.log / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                service.command, env=dict(service.environment), stdout=out, stderr=out, start_new_session=True
            )
        self.running[name] = process
        look = {"envoy": self._envoy_up, "hub": self._hub_up, "warm": self._warm_up}[name]

        def up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"{name} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
            return look()

        until(up, f"{name} to answer", timeout=60, every=0.02)

    def kill(self, name: str) -> None:
        """`kill -9`."""
        process = self.running.pop(name)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        """End everything that was started here, people's servers included."""
        for browser in self.browsers:
            browser.close()
        for name in list(self.running):
            process = self.running.pop(name)
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for left in self.marked():
            left.kill()

    def marked(self, kind: str | None = None) -> list[psutil.Process]:
        """Processes that carry this portal's mark: keepers and what they keep."""
        found = []
        for process in psutil.process_iter():
            try:
                mark = mark_of(process)
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if alive and mark and mark[0] == self.settings.instance and kind in (None, mark[1]):
                found.append(process)
        return found

    def forked(self) -> int:
        """How many runs the fork server has begun."""
        return (self.settings.folder.log / "warm.log").read_text().count(" keeps ")

    def stubs(self) -> list[psutil.Process]:
        """The servers themselves."""
        return [process for process in self.marked("server") if str(STUB) in process.cmdline()]

    def api(self, token: str | None = None) -> httpx.Client:
        """The hub's API, as the portal unless told otherwise."""
        token = token or self.settings.folder.secret("portal-token")
        address = f"http://127.0.0.1:{self.settings.hub_port}/hub/api"
        return httpx.Client(base_url=address, headers={"Authorization": f"token {token}"}, timeout=60)

    def server(self, user: str, name: str = "") -> dict[str, Any] | None:
        """What the hub says of one server."""
        with self.api() as api:
            answer = api.get(f"/users/{user}")
        found: dict[str, Any] | None = answer.json().get("servers", {}).get(name)
        return found

    def ready(self, user: str, name: str = "", timeout: float = 60) -> dict[str, Any]:
        """Wait until the hub calls this server ready."""

        def look() -> dict[str, Any] | None:
            found = self.server(user, name)
            return found if found and found["ready"] else None

        found = until(look, f"{user}'s server to be ready", timeout=timeout, every=0.05)
        assert found is not None
        return found

    def browser(self, **headers: str) -> httpx.Client:
        """Somebody not logged in, at the front port. Closed at the end of the hub."""
        self.browsers.append(httpx.Client(base_url=self.url, headers=headers, timeout=60))
        return self.browsers[-1]

    def page(self, path: str) -> str:
        """What anybody gets there from the front port."""
        return httpx.get(f"{self.url}{path}", timeout=60).text

    def log_in(self, user: str, password: str, **headers: str) -> tuple[httpx.Client, httpx.Response]:
        """Through the login page; the client that keeps the cookies, and the answer."""
        client = self.browser(**headers)
        form = client.get("/hub/login")
        answer = client.post("/hub/login", data={"username": user, "password": password, "_xsrf": xsrf(form.text)})
        return client, answer

    def logs(self) -> str:
        """The end of the hub's log."""
        return (self.settings.folder.log / "hub.log").read_text()[-4000:]

    def _envoy_up(self) -> bool:
        try:
            httpx.get(self.url, timeout=2)
        except httpx.TransportError:
            return False
        return True

    def _warm_up(self) -> bool:
        return listening(self.settings)

    def _hub_up(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.settings.hub_port}/hub/api/", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def xsrf(page: str) -> str:
    """The hidden field of a form of the hub's."""
    found = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert found, page[:2000]
    return found.group(1)


def hub_settings(folder: Path, command: Sequence[str] | None = None, **more: object) -> Settings:
    """A data folder that is ready for Envoy and hub."""
    values = {
        "data": folder / "data",
        "instance": secrets.token_hex(6),
        "port": free_port(),
        "hub_port": free_port(),
        "portal_port": free_port(),
        "memory_reserved_mb": 0,
        "disk_minimum_percent": 0,
        "cpu_profile_memory_mb": 64,
        "cpu_profile_cores": 0.01,
        "stop_grace_s": 3,
        "server_command": list(stub_command() if command is None else command),
        **more,
    }
    settings = Settings.model_validate(values)
    settings.folder.create()
    make_secrets(settings)
    settings.save()
    migrate(settings)
    return settings


@contextmanager
def real_hub(settings: Settings) -> Iterator[RealHub]:
    """Envoy and hub, up; both end, with everything they started, at the end."""
    hub = RealHub(settings)
    try:
        publish(settings)
        hub.start("envoy")
        hub.start("hub")
        yield hub
    finally:
        hub.stop()


def publish(settings: Settings) -> None:
    """The routes that the supervisor publishes."""

    asyncio.run(Dataplane(settings).publish("services", routes(settings)))
