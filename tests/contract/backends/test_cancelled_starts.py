"""A start of which nobody wants to know any more: nothing begins afterwards, and what had begun is on record."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from pathlib import Path

import pytest

from dure_hub.backends.base import Handle, Kind, Phase, ServerWork
from dure_hub.backends.embedded.records import RunFolder
from dure_hub.backends.embedded.runner import Plan, Runner
from dure_hub.settings import Settings
from tests.contract.backends.kit import EmbeddedPlace, until


@pytest.fixture
def place(tmp_path: Path) -> EmbeddedPlace:
    """Without a fork server."""
    made = EmbeddedPlace(tmp_path)
    made.settings.folder.create()
    return made


def server_of(place: EmbeddedPlace) -> ServerWork:
    work = place.work(Kind.SERVER)
    assert isinstance(work, ServerWork)
    return work


def in_line(settings: Settings) -> list[str]:
    """Who waits for the start lock, as the kernel says."""
    inode = f":{(settings.folder.run / 'start.lock').stat().st_ino} "
    return [line for line in locks().splitlines() if "->" in line and inode in line]


def locks() -> str:
    return Path("/proc/locks").read_text()


async def test_what_is_cancelled_in_line_starts_nothing_once_its_turn_comes(place: EmbeddedPlace) -> None:
    work = server_of(place)
    with (place.settings.folder.run / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = asyncio.create_task(place.start(work))

        async def waits() -> bool:
            return bool(in_line(place.settings))

        async def report() -> str:
            return locks()

        await until(waits, report)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await asyncio.get_running_loop().shutdown_default_executor()  # its thread has had its turn
    assert place.servers().recall(work.lease) is None
    assert place.marked() == {}


async def test_what_had_begun_when_it_was_cancelled_is_on_record_before_anybody_goes_on(
    place: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    start = Runner._start

    def slowly(self: Runner, folder: RunFolder, plan: Plan) -> Handle:
        begun.set()
        assert go_on.wait(60)
        return start(self, folder, plan)

    monkeypatch.setattr(Runner, "_start", slowly)
    work = server_of(place)
    starting = asyncio.create_task(place.start(work))
    assert await asyncio.to_thread(begun.wait, 60)
    for _ in range(2):  # who is impatient cancels twice
        starting.cancel()
        await asyncio.wait([starting], timeout=0.05)
        assert not starting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    recalled = place.servers().recall(work.lease)
    assert recalled is not None
    assert (await place.servers().poll(recalled[0])).phase is Phase.RUNNING
    assert set(place.marked().values()) <= {work.lease}
    await place.servers().stop(recalled[0], grace_s=5)
    assert place.marked() == {}


async def test_a_start_that_fails_after_it_was_cancelled_is_no_bug(
    place: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def failing(self: Runner, folder: RunFolder, plan: Plan) -> Handle:
        begun.set()
        assert go_on.wait(60)
        raise OSError(os.strerror(28))

    monkeypatch.setattr(Runner, "_start", failing)
    starting = asyncio.create_task(place.start(server_of(place)))
    assert await asyncio.to_thread(begun.wait, 60)
    starting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert caplog.records == []
