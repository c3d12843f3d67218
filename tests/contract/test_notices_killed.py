"""A process that sends notices is killed with -9, before and in the middle: none is lost, one may come twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store.events import PORTAL, record
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Delivery
from tests.support.receivers import LOOPBACK, webhook


@contextmanager
def sender(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that works; killed at the end."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.sender", str(data)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until(look: Callable[[], bool], what: str) -> None:
    """With a bound."""
    try:
        async with asyncio.timeout(120):
            while not look():  # noqa: ASYNC110 - another process makes it true
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"not within two minutes: {what}") from error


async def test_killed_before_and_while_it_sends(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = Settings(data=tmp_path / "data", clock_file=clock, notice_networks=LOOPBACK, instance="0" * 12)
    settings.folder.create()
    (settings.folder.secrets / "notices-key").write_text("key")
    (settings.folder.secrets / "portal-token").write_text("token")
    migrate(settings)
    settings.save()
    ops = operations(settings.data)

    def sent() -> bool:
        with ops.store.reading() as session:
            return all(one.sent_at is not None for one in session.scalars(select(Delivery)))

    with webhook() as hook:
        await ops.notices.add(Person("ann"), wire.NoticeChannelRequest(id=new_id(), url=hook.url))
        with ops.store.transaction() as session:  # and the portal is killed: nobody has made notices of it yet
            record(session, ops.clock, PORTAL, "job.fail", "job:ann/first")
        hook.hold.set()
        with sender(settings.data):
            await until(lambda: len(hook.got) == 1, "the first try")
        hook.hold.clear()
        hook.let_go.set()
        assert not sent(), "it was killed before it heard"
        clock.write_text("91")
        with sender(settings.data):
            await until(sent, "the second")
            with ops.store.transaction() as session:
                record(session, ops.clock, PORTAL, "job.fail", "job:ann/second")
            await until(lambda: len(hook.got) == 3, "the next notice")
        assert [text.splitlines()[0] for text in hook.texts] == [
            "The job first has failed.",
            "The job first has failed.",
            "The job second has failed.",
        ]
    await ops.close()
