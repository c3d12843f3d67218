"""Who stays signed in by another's word, while that other is away; and what is asked about whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import select

from dure_hub import login_audit
from dure_hub.app import operations
from dure_hub.logins import authenticator_of
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event, Login
from dure_hub.supervisor.prepare import make_secrets


def authenticator(folder: Path, **more: Any) -> Any:
    """The hub's, without the hub."""
    settings = Settings(data=folder / "data", **more)
    settings.folder.create()
    make_secrets(settings)
    settings.save()
    migrate(settings)
    return authenticator_of(operations(settings.folder.root))()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Any]:
    """Over OIDC; its provider swallows every question."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    made = authenticator(
        tmp_path,
        auth="oidc",
        oidc_issuer="https://login.example",
        oidc_client_id="dure",
        oidc_client_secret_file=secret,
    )
    made.asked = []

    async def swallowed(user: Any) -> Any:
        made.asked.append(user.name)
        await asyncio.Event().wait()

    made.look = swallowed
    yield made
    for task in list(made.recheck._asking.values()):
        task.cancel()
    await made.provider.close()
    await made.ops.close()


class Book:
    """A directory that answers when it is let."""

    can_ask_later = True

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []

    def find(self, name: str) -> None:
        """Nobody."""
        self.asked.append(name)
        self.answers.wait(60)

    def login(self, name: str, _password: str) -> None:
        """Nobody's password."""
        self.asked.append(f"login {name}")


@pytest.fixture
async def ldap(tmp_path: Path) -> AsyncIterator[Any]:
    """Over LDAP; its directory is a `Book`."""
    secret = tmp_path / "bind"
    secret.write_text("s3cret")
    made = authenticator(
        tmp_path,
        auth="ldap",
        ldap_url="ldaps://directory.example",
        ldap_bind_dn="cn=portal",
        ldap_bind_password_file=secret,
        ldap_user_base="ou=people",
    )
    made.directory = Book()
    yield made
    made.directory.answers.set()
    await made.ops.close()


async def last_checked(door: Any, name: str, ago: timedelta) -> None:
    """As a provider leaves it that confirmed somebody then, and no more."""
    await door.ops.logins.confirmed(name, "42", None)

    def write(session: Any) -> None:
        session.get_one(Login, name).checked_at = door.ops.clock() - ago

    await door.ops.store.run(write)


async def test_a_provider_that_swallows_questions_keeps_nobody_waiting(door: Any) -> None:
    ana = SimpleNamespace(name="ana")
    await last_checked(door, "ana", timedelta(seconds=3 * door.ops.settings.login_check_s))
    await door.ops.logins.unreachable("ana", "no answer")
    for _ in range(3):
        async with asyncio.timeout(10):  # less than it takes to give up a question
            assert await door.refresh_user(ana) is True
    await asyncio.sleep(0)
    assert door.asked == ["ana"], "asked once, by the way"


async def test_who_has_ended_stays_out_though_the_provider_is_away(door: Any) -> None:
    await last_checked(door, "ana", timedelta(days=1))
    await door.ops.logins.unreachable("ana", "no answer")

    def write(session: Any) -> None:
        row = session.get_one(Login, "ana")
        row.gone_at = row.ended_at = door.ops.clock()

    await door.ops.store.run(write)
    assert await door.refresh_user(SimpleNamespace(name="ana")) is False


async def test_whose_account_the_hub_has_no_more_keeps_a_key_up_to_the_bound(door: Any) -> None:
    ops, bound = door.ops, timedelta(seconds=door.ops.settings.login_unchecked_s)
    door.recheck._app = SimpleNamespace(db=orm.new_session_factory("sqlite://")(), users={})
    _, text = await ops.tokens.mint("ana", admin=False, scopes=["x"], purpose="key", lifetime_s=1e6, name="ci")
    await last_checked(door, "ana", bound / 2)
    await door.recheck.round()
    assert await ops.tokens.find(text) is not None
    await last_checked(door, "ana", bound)
    await door.recheck.round()
    assert await ops.tokens.find(text) is None
    assert (await ops.logins.state("ana")).why == "unchecked_too_long"


def typed(name: str, address: str = "10.0.0.7") -> tuple[Any, dict[str, str]]:
    request = SimpleNamespace(remote_ip=address, headers={})
    return SimpleNamespace(request=request, find_user=lambda _: None), {"username": name, "password": "wrong"}


async def test_a_directory_that_is_away_takes_no_thread_of_anybodys_nor_a_login(ldap: Any) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    looks = [asyncio.create_task(ldap.look(SimpleNamespace(name=f"p{number}"))) for number in range(20)]
    async with asyncio.timeout(30):
        while not ldap.directory.asked:  # noqa: ASYNC110 - its thread knows no event of this loop
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert await ldap.authenticate(*typed("ana")) is None
    assert "login ana" in ldap.directory.asked
    ldap.directory.answers.set()
    await asyncio.gather(*looks)


async def test_a_failed_login_is_told_by_name_only_of_whom_the_portal_knows(ldap: Any) -> None:
    await ldap.ops.logins.confirmed("ana", "42", None)
    for name in ("ana", "a-password-typed-here", "Not A Name!"):
        assert await ldap.authenticate(*typed(name)) is None
    await ldap.ops.audit.close()
    query = select(Event).where(Event.verb == login_audit.FAILED).order_by(Event.seq)
    rows = await ldap.ops.store.read(lambda session: list(session.scalars(query)))
    assert [(row.object, row.verdict["code"]) for row in rows] == [
        ("user:ana", "wrong_password"),
        ("user:(unknown)", "no_account"),
        ("user:(unknown)", "no_account"),
    ]
    assert login_audit.NO_TYPED_NAMES in ldap.log.filters
