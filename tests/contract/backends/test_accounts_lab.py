"""A person's real JupyterLab, forked and dropped to their account, against a stand-in for the hub."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from dure.wire.ids import new_id
from dure_hub.backends.embedded import EmbeddedServers, warm
from dure_hub.spawners.local import INHERITED
from tests.contract.backends.apart import REFUSED, ApartPlace
from tests.contract.backends.kit import until
from tests.e2e.kernels import compute
from tests.support.accounts import ground, groups_left
from tests.support.grants import make_grant
from tests.support.warm import fork_server, log_of
from tests.unit.hub.test_spawner import make_spawner

pytestmark = pytest.mark.timeout(300)
TOKEN = "secret-of-ana"


class Hub(BaseHTTPRequestHandler):
    """Knows ana by her server's token, and takes note of nothing."""

    def do_GET(self) -> None:
        """Who asks, or which version this is."""
        known = self.headers.get("Authorization", "").endswith(TOKEN)
        who = {"name": "ana", "admin": False, "groups": [], "kind": "user", "scopes": ["access:servers!user=ana"]}
        self._say(who if known and self.path.endswith("/user") else {"version": "6.1.1"})

    def do_POST(self) -> None:
        """Activity."""
        self._say({})

    def _say(self, what: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Its API's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hub/api"
    server.shutdown()
    server.server_close()


@pytest.fixture
def place() -> Iterator[ApartPlace]:
    """With a fork server that has imported JupyterLab."""
    with ground() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(made.python))
        found = ApartPlace(made)
        same = {name: os.environ[name] for name in INHERITED if name in os.environ and name != "PATH"}
        with fork_server(found.settings, warm.PROGRAM, {"LANG": "C.UTF-8", **same, **made.environment}):
            yield found
            asyncio.run(found.end_all())
        assert groups_left(found.settings.instance) == set()


def in_kernel(base: str, code: str) -> str:
    """What this prints in a new kernel of hers."""
    headers = {"Authorization": f"token {TOKEN}"}
    made = httpx.post(f"{base}/api/kernels", headers=headers, json={}, timeout=60)
    assert made.status_code == 201, made.text
    address = base.replace("http", "ws") + f"/api/kernels/{made.json()['id']}/channels"
    with connect(address, additional_headers=headers) as socket:
        return compute(socket, code, patience_s=60)


async def test_a_forked_lab_is_its_owners(place: ApartPlace, hub: str, tmp_path: Path) -> None:
    spawner = make_spawner(tmp_path)
    spawner.operations.settings = place.settings
    spawner.grant = make_grant(new_id(), cores=2.0, memory_mb=2048)
    work = spawner._work()
    command = [sys.executable, "-P", "-m", warm.PROGRAM]
    environment = {**work.environment, **place.ground.environment, "JUPYTERHUB_API_URL": hub}
    environment["JUPYTERHUB_ACTIVITY_URL"] = f"{hub}/users/ana/activity"
    backend = EmbeddedServers(place.settings)
    changed = {"command": command, "environment": environment}
    handle = [one async for one in backend.start(type(work)(**{**vars(work), **changed}))][-1]
    base = "http://{}:{}/user/ana".format(*backend.address(handle))

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{base}/api")).status_code == 200
        except httpx.TransportError:
            return False

    async def report() -> str:
        return await place.report(handle) + log_of(place.settings).read_text()[-1000:]

    await until(answers, report, 90)
    assert await backend.is_own(handle)
    server = psutil.Process((await place.started(handle))["pid"])
    uid = place.user("ana").pw_uid
    assert server.cmdline()[0].startswith("dure:"), await report()
    assert server.uids().real == uid
    shown = "os.getpid(), os.getuid(), os.environ['HOME'], os.listdir('/tmp/.jupyter')"
    say = f"import os, json; print(json.dumps([{shown}]))"
    pid, kernel_uid, home, sockets = json.loads(await asyncio.to_thread(in_kernel, base, say))
    assert (kernel_uid, home) == (uid, str(place.settings.folder.users / "ana"))
    assert len([one for one in sockets if "-ipc-" in one]) == 5
    own, forked = (f"/proc/{one}/environ" for one in (pid, server.pid))
    spec = place.run_folder(handle) / "spec.json"
    _, ben = await place.server(
        "ben", ("read", own), ("read", forked), ("signal", server.pid), ("read", str(spec))
    )
    assert [one for one in ben["attempts"] if one not in REFUSED] == []
