"""The database of an old JupyterHub, made by JupyterHub itself; and a real stock hub, without a proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from jupyterhub import orm

from tests.e2e.portal import free_port, until

CONFIG = '''
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    """The hub is asked at its own port."""

    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {}

    async def check_routes(self, *args, **kwargs):
        pass


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.DummyAuthenticator.password = "the-old-password"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"root"}
c.JupyterHub.load_groups = {"vision": {"users": ["ana", "ben"]}, "speech": {"users": ["ana"]}}
c.JupyterHub.services = [{"name": "mover", "api_token": TOKEN}]
c.JupyterHub.load_roles = [{"name": "mover", "services": ["mover"], "scopes": ["list:users", "read:users"]}]
'''


def old_database(
    path: Path,
    people: Mapping[str, Sequence[str]],
    admins: Sequence[str] = (),
    state: Mapping[str, str] | None = None,
) -> Path:
    """A new jupyterhub.sqlite with these people."""
    fill(f"sqlite:///{path}", people, admins, state)
    return path


def fill(
    address: str,
    people: Mapping[str, Sequence[str]],
    admins: Sequence[str] = (),
    state: Mapping[str, str] | None = None,
) -> None:
    """People with their groups, each with a default server and one named `gpu`; `state` has remembered volumes."""
    factory = orm.new_session_factory(address)
    with factory() as db:
        groups = {name: orm.Group(name=name) for name in sorted({one for two in people.values() for one in two})}
        db.add_all(groups.values())
        for name, mine in people.items():
            user = orm.User(name=name, admin=name in admins)
            user.groups = [groups[one] for one in mine]
            db.add(user)
            db.add(
                orm.Spawner(
                    name="", user=user, state={"pvc_name": (state or {})[name]} if name in (state or {}) else {}
                )
            )
            db.add(orm.Spawner(name="gpu", user=user, state={}))
        db.commit()
        db.get_bind().dispose()


@contextmanager
def running_old_hub(folder: Path, token: str) -> Iterator[str]:
    """JupyterHub as it comes, on a port of its own; its address."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "config.py"
    config.write_text(CONFIG.replace("TOKEN", repr(token)))
    command = [
        sys.executable,
        "-m",
        "jupyterhub",
        "-f",
        str(config),
        f"--JupyterHub.hub_bind_url=http://127.0.0.1:{port}",
    ]
    log = folder / "hub.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ}, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(trust_env=False) as client:

            def up() -> bool:
                if process.poll() is not None:
                    pytest.fail(f"the old hub ended:\n{log.read_text()[-3000:]}")
                try:
                    return client.get(f"{address}/hub/health").status_code == 200
                except httpx.TransportError:
                    return False

            until(up, lambda: f"the old hub to answer:\n{log.read_text()[-2000:]}", timeout=120)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
