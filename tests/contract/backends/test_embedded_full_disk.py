"""Processes of this machine when nothing can be written any more."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
import pytest

from dure_hub.backends.base import Kind, Phase, Reason
from dure_hub.backends.embedded import processes
from dure_hub.backends.embedded.runs import _leave
from tests.contract.backends.kit import EmbeddedPlace, is_alive, no_room, until


@pytest.mark.parametrize("kept", [True, False])
async def test_a_stop_ends_everything_without_a_record(embedded: EmbeddedPlace, kept: bool) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "family"))
    facts = await embedded.facts(handle)
    await embedded.started(handle)
    if not kept:
        os.kill(handle.where["pid"], signal.SIGKILL)
    before = {file.name for file in embedded.run_folder(handle).iterdir()}
    with no_room():
        await embedded.servers().stop(handle, grace_s=5)
    assert not is_alive(facts["pid"])
    assert not is_alive(facts["grandchild"])
    # Only the keeper, which had room in this test, could write; no half-written record stays.
    written = {"exit.json"} if kept else set()
    assert {file.name for file in embedded.run_folder(handle).iterdir()} - before == written
    seen = await embedded.servers().poll(handle)
    assert (seen.phase, seen.reason) == (Phase.EXITED, Reason.STOPPED if kept else Reason.KEEPER_LOST)


async def test_an_exit_code_waits_for_room(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "parent"))
    pid = (await embedded.facts(handle))["pid"]
    await embedded.started(handle)
    with no_room(handle.where["pid"]):
        os.kill(pid, signal.SIGUSR1)
        await until_childless(handle.where["pid"])
        for one in (await embedded.servers().poll(handle), *await embedded.servers().seen()):
            assert (one.phase, one.reason) == (Phase.RUNNING, None)
    seen = await embedded.ended(handle)
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED)


async def test_a_keeper_that_waits_for_room_can_be_stopped(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "parent"))
    pid = (await embedded.facts(handle))["pid"]
    await embedded.started(handle)
    keeper = handle.where["pid"]
    with no_room(keeper):
        os.kill(pid, signal.SIGUSR1)
        await until_childless(keeper)
        await embedded.servers().stop(handle, grace_s=600)
        assert not is_alive(keeper)
    assert (await embedded.servers().poll(handle)).reason == Reason.STOPPED


async def test_a_keeper_that_can_say_and_write_nothing_keeps_its_run(tmp_path: Path) -> None:
    """From its first step on, log and records alike."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = ["sh", "-c", "mkdir was-here; exit 5"]
    (folder / "spec.json").write_text(json.dumps({"command": command, "cwd": str(tmp_path), "grace_s": 5}))
    with (folder / "log").open("ab") as log, no_room():
        keeper = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", processes.KEEPER, str(folder), stdout=log, stderr=log
        )
    try:
        await until(lambda: asyncio.sleep(0, (tmp_path / "was-here").exists()), nothing)
        await until_childless(keeper.pid)
        assert keeper.returncode is None
        assert {file.name for file in folder.iterdir()} & {"started.json", "exit.json"} == set()
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(keeper.pid, resource.RLIMIT_FSIZE, unlimited)
        await until(lambda: asyncio.sleep(0, (folder / "exit.json").exists()), nothing)
        record = json.loads((folder / "exit.json").read_text())
        assert (record["code"], record["reason"]) == (5, "failed")
    finally:
        with suppress(ProcessLookupError):  # where all went well it has ended
            keeper.kill()
        await keeper.wait()


async def until_childless(pid: int) -> None:
    """Until all that this keeper looked after has ended and is buried."""

    async def childless() -> bool:
        return not psutil.Process(pid).children()

    await until(childless, nothing)


async def nothing() -> str:
    """No more is known."""
    return "it did not come to this"


def test_a_log_for_which_there_is_no_room_leaves_what_was_there_before(tmp_path: Path) -> None:
    target, source = tmp_path / "kept", tmp_path / "log"
    target.write_text("first ")
    source.write_text("second")
    with no_room():
        _leave(source, target)
    assert target.read_text() == "first "


def test_a_log_that_a_killed_portal_had_begun_to_append_is_there_once(tmp_path: Path) -> None:
    target, source = tmp_path / "kept", tmp_path / "log"
    target.write_text("first ")
    source.write_text("second")
    with pytest.MonkeyPatch.context() as patch:

        def die(file: IO[bytes], out: IO[bytes], _size: int) -> None:
            out.write(file.read(3))
            out.flush()
            raise KeyboardInterrupt

        patch.setattr(shutil, "copyfileobj", die)
        with pytest.raises(KeyboardInterrupt):
            _leave(source, target)
    assert target.read_text() == "first sec"
    _leave(source, target)
    assert target.read_text() == "first second"
