"""Guessing stays slow however many guesses come at once, and tells nothing by how long it takes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dure_hub import accounts, authenticator
from dure_hub.authenticator import FREE_FAILURES, DureAuthenticator, TooManyFailures
from dure_hub.operations.audit import Audit
from dure_hub.settings import Settings
from dure_hub.store.clock import system_clock
from dure_hub.store.migrate import migrate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data=tmp_path / "data")
    made.folder.create()
    made.save()
    migrate(made)
    return made


class Looked:
    """Whose passwords were looked at, in the place of the real and costly look; all are wrong."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, _: Settings, name: str, _password: str) -> None:
        self.go_on.wait(60)
        self.names.append(name)


async def test_a_burst_for_one_name_is_looked_at_no_more_often_than_one_after_the_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, door = Looked(), DureAuthenticator(data=str(settings.folder.root))
    looked.go_on.set()
    monkeypatch.setattr(authenticator, "check_password", looked)
    came = await asyncio.gather(
        *(door.check("ana", str(n), "10.0.0.7") for n in range(39)), return_exceptions=True
    )
    assert all(one is None or isinstance(one, TooManyFailures) for one in came)
    assert FREE_FAILURES <= len(looked.names) <= FREE_FAILURES + 1  # one more may be looked at beside the last


async def test_a_line_that_is_full_refuses_at_once_and_one_address_cannot_fill_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, door = Looked(), DureAuthenticator(data=str(settings.folder.root))
    monkeypatch.setattr(authenticator, "check_password", looked)
    tries = [asyncio.create_task(door.check(f"p{n}", "x", "10.0.0.7")) for n in range(200)]
    other = asyncio.create_task(door.check("ana", "x", "10.0.0.8"))
    await asyncio.sleep(0)
    refused = [one for one in tries if one.done()]
    assert len(refused) == 200 - authenticator._MOST_OF_ADDRESS
    assert not other.done()
    looked.go_on.set()
    assert await other is None
    await asyncio.gather(*tries, return_exceptions=True)
    assert door._line._waiting.total() == 0
    assert len(looked.names) == authenticator._MOST_OF_ADDRESS + 1


class Slow:
    """A store that writes when it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.wrote = 0

    async def run(self, _: Any) -> None:
        """One transaction."""
        await self.go_on.wait()
        self.wrote += 1


async def test_a_failed_login_waits_for_no_writing_whether_or_not_there_is_an_account(settings: Settings) -> None:
    accounts.add_user(settings, "ana", "her own password", actor="machine:root")
    slow, door = Slow(), DureAuthenticator(data=str(settings.folder.root))
    store: Any = slow
    door.audit = Audit(store, system_clock(None))
    request = SimpleNamespace(remote_ip="10.0.0.7", headers={})
    handler = SimpleNamespace(request=request, find_user=lambda _: None)
    async with asyncio.timeout(30):
        for name in ("ana", "nobody"):
            assert await door.authenticate(handler, {"username": name, "password": "wrong"}) is None
    assert slow.wrote == 0
    slow.go_on.set()
    await door.audit.close()
    assert slow.wrote == 2
