"""The lock that means "up", and who is asked to let go of it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time

import pytest

from dure_hub.commands.down import down
from dure_hub.settings import Settings
from dure_hub.supervisor import lock, processes
from dure_hub.supervisor.errors import AlreadyUp, StillRunning
from tests.contract.backends.kit import no_room
from tests.unit.supervisor.kit import SLEEP, Begin

HOLD = """
import signal, sys
from dure_hub.settings import Settings
from dure_hub.supervisor import lock
settings = Settings.model_validate_json(sys.argv[1])
with lock.held(settings):
    lock.write_holder(settings.folder.run, settings.front_url, "up")
    print("up", flush=True)
    signal.pause()
"""


def test_a_second_holder_is_told_where_the_first_is(settings: Settings) -> None:
    assert not lock.is_held(settings.folder.run)
    with lock.held(settings):
        lock.write_holder(settings.folder.run, "http://127.0.0.1:1", "up")
        assert lock.is_held(settings.folder.run)
        with (
            pytest.raises(AlreadyUp, match=rf"http://127\.0\.0\.1:1 \(process {os.getpid()}\)"),
            lock.held(settings),
        ):
            pass
    assert not lock.is_held(settings.folder.run)


def test_who_looks_is_no_holder_for_another_and_in_nobodys_way(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = os.open(settings.folder.run / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert not lock.is_held(settings.folder.run)
    # It has looked enough once `held` begins to wait.
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(looking))
    with lock.held(settings):
        assert lock.is_held(settings.folder.run)


def test_a_full_disk_leaves_the_word_of_before(settings: Settings) -> None:
    lock.write_holder(settings.folder.run, settings.front_url, "up")
    before = lock.holder(settings.folder.run)
    with no_room():
        lock.write_holder(settings.folder.run, settings.front_url, "closing")
    assert lock.holder(settings.folder.run) == before
    lock.write_holder(settings.folder.run, settings.front_url, "closing")
    assert lock.holder(settings.folder.run) == {**before, "phase": "closing"}


async def test_down_ends_the_holder(settings: Settings, begin: Begin) -> None:
    supervisor, _ = begin(HOLD, settings.model_dump_json())
    assert lock.holder(settings.folder.run)["pid"] == supervisor.pid
    assert await down(settings) == 0
    assert supervisor.wait(timeout=20) == -signal.SIGTERM


@pytest.mark.parametrize("told", [{"start_time": 1}, {"boot_id": "another boot"}, {"start_time": None}])
async def test_down_leaves_a_later_process_with_the_holders_pid_alone(
    settings: Settings, begin: Begin, told: dict[str, object]
) -> None:
    bystander, _ = begin(SLEEP)
    found = processes.identify(bystander.pid)
    assert found is not None
    with lock.held(settings):
        lock.write_holder(settings.folder.run, settings.front_url, "up")
        record = settings.folder.run / "services" / "supervisor.json"
        wrong = {**lock.holder(settings.folder.run), **found.__dict__, **told}
        record.write_text(json.dumps(wrong))
        with pytest.raises(AlreadyUp):
            await down(settings)
    assert bystander.poll() is None


async def test_a_holder_of_somebody_else_is_named(
    settings: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, _ = begin(HOLD, settings.model_dump_json())

    def refused(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refused)
        with pytest.raises(StillRunning, match=str(supervisor.pid)):
            await down(settings)


def test_a_holder_that_ended_without_a_word_is_counted_until_one_goes_down_in_order(
    settings: Settings, begin: Begin
) -> None:
    run = settings.folder.run

    def taken_over() -> dict[str, object] | None:
        lock.write_holder(run, settings.front_url, "starting")
        found = lock.holder(run)["lost"]
        lock.write_holder(run, settings.front_url, "up")
        assert lock.holder(run)["lost"] == found, "the same holder goes on"
        return None if found is None else {name: found[name] for name in ("times", "why")}

    other, _ = begin(HOLD, settings.model_dump_json())
    other.kill()
    other.wait(timeout=20)
    assert taken_over() == {"times": 1, "why": "killed"}
    word = run / "services" / "supervisor.json"
    booted = json.loads(word.read_text()) | {"boot_id": "another boot"}
    word.write_text(json.dumps(booted))
    assert taken_over() == {"times": 2, "why": "rebooted"}
    word.write_text(json.dumps(booted | {"phase": "down"}))
    assert taken_over() is None
