"""Who stays signed in by another's word, while that other is away; and what is asked about whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dure_hub.app import operations
from dure_hub.logins import authenticator_of
from dure_hub.settings import Settings
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Login
from dure_hub.supervisor.prepare import make_secrets


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Any]:
    """The hub's authenticator over OIDC, without the hub; its provider swallows every question."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    settings = Settings(
        data=tmp_path / "data",
        auth="oidc",
        oidc_issuer="https://login.example",
        oidc_client_id="dure",
        oidc_client_secret_file=secret,
    )
    settings.folder.create()
    make_secrets(settings)
    settings.save()
    migrate(settings)
    ops = operations(settings.folder.root)
    made = authenticator_of(ops)()
    made.asked = []

    async def swallowed(user: Any) -> Any:
        made.asked.append(user.name)
        await asyncio.Event().wait()

    made.look = swallowed
    yield made
    for task in list(made.recheck._asking.values()):
        task.cancel()
    await made.provider.close()
    await ops.close()


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
