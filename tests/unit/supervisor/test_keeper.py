"""One service under care, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import logs, processes
from dure_hub.supervisor.care import Care, load_care
from dure_hub.supervisor.errors import ServiceFailed
from dure_hub.supervisor.keeper import Keeper, care_path, end_leftovers, log_path, record_path
from dure_hub.supervisor.spec import Service, http_status
from tests.unit.supervisor.kit import WAIT_S, until

SERVE = "import sys, time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


Make = Callable[..., Keeper]


@pytest.fixture
async def make(settings: Settings) -> AsyncIterator[Make]:
    """Makes keepers; all they keep has ended after the test."""
    made: list[Keeper] = []

    def keeper(code: str = SERVE, keep: bool = False, fingerprint: str = "", limit_s: float = WAIT_S) -> Keeper:
        async def ready() -> bool:
            return "up" in logs.tail(log_path(settings.folder, "thing"))

        marks = {"DURE_PORTAL": settings.instance, "DURE_SERVICE": "thing"}
        service = Service(
            "thing",
            "a thing",
            [sys.executable, "-c", code],
            ready,
            environment=marks,
            keep=keep,
            fingerprint=fingerprint,
            stop_grace_s=5,
            start_limit_s=limit_s,
        )
        made.append(Keeper(settings, service, lambda text: None))
        return made[-1]

    yield keeper
    for one in made:
        await one.stop(0)


async def started(keeper: Keeper) -> processes.Process:
    """Begin, and its process."""
    await keeper.begin()
    await keeper.until_ready()
    assert keeper.process is not None
    return keeper.process


async def test_it_leads_its_own_session_and_is_recorded(make: Make, settings: Settings) -> None:
    process = await started(make())
    assert os.getsid(process.pid) == process.pid
    record = processes.load_record(record_path(settings.folder, "thing"))
    assert record is not None
    assert record.process == process


async def test_a_killed_one_is_started_again(make: Make, settings: Settings) -> None:
    keeper = make()
    process = await started(keeper)
    process.signal(signal.SIGKILL)
    await until(lambda: keeper.process is not None and keeper.process != process and keeper.process.alive())
    assert keeper.exits == 1
    await until(lambda: (load_care(care_path(settings.folder, "thing")) or Care()).restarts == 1)
    care = load_care(care_path(settings.folder, "thing"))
    assert care is not None
    assert care.last is not None
    assert (care.last.signal, care.next_at, care.failing) == ("SIGKILL", None, False)


async def test_one_that_ends_at_every_start_is_tried_more_and_more_seldom_and_told_as_failing(
    make: Make, settings: Settings
) -> None:
    keeper = make("raise SystemExit(7)")
    await keeper.begin()
    await until(lambda: keeper.care.failing)
    care = load_care(care_path(settings.folder, "thing"))
    assert care is not None
    assert care.last is not None
    assert (care.last.code, care.unanswered) == (7, care.ends)
    await keeper.stop()
    assert not care_path(settings.folder, "thing").exists()


async def test_a_program_that_is_not_there_yet_is_tried_again_where_the_portal_can_do_without(
    settings: Settings, tmp_path: Path
) -> None:
    program = tmp_path / "late"

    async def ready() -> bool:
        return "up" in logs.tail(log_path(settings.folder, "late"))

    marks = {"DURE_PORTAL": settings.instance, "DURE_SERVICE": "late", "PATH": os.environ["PATH"]}
    late = Service("late", "late", [str(program)], ready, environment=marks, essential=False)
    needed = Service("needed", "needed", [str(program)], ready, environment=marks)
    with pytest.raises(FileNotFoundError):
        await Keeper(settings, needed, lambda text: None).begin()
    keeper = Keeper(settings, late, lambda text: None)
    await keeper.begin()
    try:
        program.write_text("#!/bin/sh\necho up; exec sleep 600\n")
        program.chmod(0o755)
        async with asyncio.timeout(WAIT_S):
            await keeper.until_ready()
    finally:
        await keeper.stop(0)


async def test_a_stopped_one_is_gone_and_stays_so(make: Make, settings: Settings) -> None:
    keeper = make()
    process = await started(keeper)
    assert await keeper.stop() == []
    assert not process.alive()
    assert not record_path(settings.folder, "thing").exists()


async def test_a_stop_that_was_cut_short_can_be_repeated(make: Make) -> None:
    """As a second Ctrl-C does."""
    keeper = make()
    process = await started(keeper)
    calm = asyncio.create_task(keeper.stop(600))
    await asyncio.sleep(0)  # it waits for the keeping to end now
    calm.cancel()
    await asyncio.gather(calm, return_exceptions=True)
    assert calm.cancelled()
    assert await keeper.stop(5) == []
    assert not process.alive()


async def test_one_that_ignores_the_wish_is_killed(make: Make) -> None:
    keeper = make(STUBBORN)
    process = await started(keeper)
    assert await keeper.stop(0.2) == []
    assert not process.alive()


async def test_one_that_ends_at_once_fails_with_the_end_of_its_log(make: Make) -> None:
    keeper = make("raise SystemExit('no such database')")
    await keeper.begin()
    with pytest.raises(ServiceFailed, match="no such database"):
        await keeper.until_ready()


async def test_one_that_never_answers_fails_in_its_time(make: Make) -> None:
    keeper = make("import time; time.sleep(600)", limit_s=0.3)
    await keeper.begin()
    with pytest.raises(ServiceFailed, match="not ready within"):
        await keeper.until_ready()


async def test_the_same_one_is_adopted_and_then_kept(make: Make) -> None:
    first = make(keep=True, fingerprint="a")
    process = await started(first)
    await first.release()
    second = make(keep=True, fingerprint="a")
    assert await started(second) == process
    assert second.adopted
    process.signal(signal.SIGKILL)
    await until(lambda: second.process is not None and second.process != process and second.process.alive())
    assert not second.adopted


@pytest.mark.parametrize(("keep", "fingerprint"), [(True, "b"), (False, "a")])
async def test_another_one_is_replaced(make: Make, keep: bool, fingerprint: str) -> None:
    first = make(keep=True, fingerprint="a")
    process = await started(first)
    await first.release()
    assert await started(make(keep=keep, fingerprint=fingerprint)) != process
    assert not process.alive()


async def test_one_without_a_record_is_found_by_its_mark(make: Make, settings: Settings) -> None:
    keeper = make()
    process = await started(keeper)
    await keeper.release()
    record_path(settings.folder, "thing").unlink()
    await end_leftovers(settings, "thing", 5)
    assert not process.alive()


async def test_a_record_of_another_boot_or_a_reused_pid_means_nobody() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.alive()
    for other in (
        processes.Process(me.pid, me.start_time, "another boot"),
        processes.Process(me.pid, me.start_time + 1, me.boot_id),
    ):
        assert not other.alive()
        other.signal_group(signal.SIGKILL)


async def test_whoever_asks_is_never_among_the_marked(settings: Settings) -> None:
    code = (
        "import sys; from dure_hub.supervisor import processes;"
        f"print([p.pid for p in processes.marked({settings.instance!r})])"
    )
    asked = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env={**os.environ, "DURE_PORTAL": settings.instance},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asked.communicate()
    assert said == b"[]\n"


async def test_nothing_at_an_address_is_no_status(tmp_path: Path) -> None:
    assert await http_status(f"unix:{tmp_path}/none", "/") is None
    assert await http_status("127.0.0.1:1", "/") is None
