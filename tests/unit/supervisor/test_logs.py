"""Logs that grow too long, with and without room for a copy."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import logs
from dure_hub.supervisor.keeper import log_path
from dure_hub.supervisor.run import Supervisor
from tests.unit.supervisor.kit import until

FULL = Path("/dev/full")
"""Writing to it fails as on a full disk."""


def test_a_long_log_is_copied_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("a") as writer:
        writer.write("a" * 100)
        writer.flush()
        assert not logs.rotate(path, 100)
        assert logs.rotate(path, 99)
        writer.write("b")
    assert path.read_text() == "b"
    assert (tmp_path / "x.log.1").read_text() == "a" * 100
    assert not logs.rotate(tmp_path / "none.log", 1)


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert logs.tail(path) == ""
    path.write_text("one\ntwo\nthree\n")
    assert logs.tail(path, 2) == "two\nthree"


def test_without_room_for_the_copy_a_log_is_truncated_all_the_same(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.log", tmp_path / "x.log.1"
    copy.symlink_to(FULL)
    with path.open("a") as writer:
        writer.write("a" * 100)
        writer.flush()
        assert logs.rotate(path, 99)
        writer.write("b")
    assert path.read_text() == "b"
    assert not copy.is_symlink()


def test_what_cannot_be_copied_for_another_reason_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("a" * 100)
    (tmp_path / "x.log.1").mkdir()
    with pytest.raises(OSError, match=r"x\.log\.1") as why:
        logs.rotate(path, 99)
    assert why.value.errno == errno.EISDIR
    assert path.read_text() == "a" * 100


async def test_the_watch_goes_on_and_takes_peoples_endless_logs_too(settings: Settings) -> None:
    settings = settings.model_copy(update={"log_limit_mb": 1})
    long = "a" * (2**20 + 1)
    broken = log_path(settings.folder, "supervisor")
    broken.write_text(long)
    broken.with_name(broken.name + ".1").mkdir()
    endless, job = [], settings.folder.run / "job" / "L3" / "log"
    for place in ("server/L1", "model/L2"):
        endless.append(settings.folder.run / place / "log")
    for log in (*endless, job):
        log.parent.mkdir(parents=True)
        log.write_text(long)
    watch = asyncio.create_task(Supervisor(settings, [], lambda key, **facts: None).watch())
    await until(lambda: watch.done() or not any(log.stat().st_size for log in endless))
    assert not watch.done()
    watch.cancel()
    assert [log.with_name("log.1").read_text() for log in endless] == [long, long]
    assert job.read_text() == long
    assert "cannot rotate" in broken.read_text()[len(long) :]
