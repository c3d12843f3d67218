"""Processes of this machine when something is killed at the wrong moment."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, Phase, Reason
from dure_hub.backends.embedded import ports, processes
from dure_hub.backends.embedded.errors import CouldNotStart
from tests.contract.backends.kit import HERE, EmbeddedPlace, Place, WarmPlace, deaf, is_alive, until

STEPS = 20
"""More than a start has, so that the last ones get to their end."""


async def run_starter(place: EmbeddedPlace, trials: list[dict[str, Any]], folder: Path) -> list[bool]:
    job = folder / "starter.json"
    data = str(place.settings.data)
    settings = {"data": data, "instance": place.settings.instance, "warm_starts": isinstance(place, WarmPlace)}
    job.write_text(json.dumps({"settings": settings, "code": str(place.code), "trials": trials}))
    starter = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "starter.py"), str(job), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await starter.communicate()
    assert starter.returncode == 0
    return [line == "True" for line in out.decode().splitlines()]


async def check_world(place: EmbeddedPlace, leases: list[str]) -> None:
    """Once it is quiet: what runs is seen as running, what does not is not, nothing twice; all can end."""

    async def settled() -> bool:
        seen = {one.handle.lease: one.phase for one in await place.servers().seen()}
        running = {lease for lease, phase in seen.items() if phase is Phase.RUNNING}
        stubs = [place.marked()[pid] for pid in mains(place)]
        return running == set(stubs) == set(place.marked().values()) and len(stubs) == len(set(stubs))

    async def report() -> str:
        return f"marked: {place.marked()}\nmain: {mains(place)}\nseen: {await place.servers().seen()}"

    await until(settled, report, timeout_s=30)
    # An interrupted start is simply asked for again.
    handles = [await place.start(place.work(Kind.SERVER, lease=lease)) for lease in leases]
    for handle in handles:
        await place.facts(handle)
    assert sorted(place.marked()[pid] for pid in mains(place)) == sorted(leases)
    assert len({handle.where["port"] for handle in handles}) == len(leases)
    await asyncio.gather(*(place.servers().stop(handle, grace_s=5) for handle in handles))
    assert place.marked() == {}
    assert {one.phase for one in await place.servers().seen()} == {Phase.EXITED}


def mains(place: EmbeddedPlace) -> list[int]:
    """Pids of the stubs themselves, keepers left out."""
    commands = {pid: commandline(pid).rstrip(b"\0").split(b"\0") for pid in place.marked()}
    return [
        pid
        for pid, words in commands.items()
        if b"stub" in words or (words[0].startswith(b"dure:") and b" " not in words[0])
    ]


def commandline(pid: int) -> bytes:
    """As /proc has it; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_starter_killed_at_any_step_leaves_nothing_unknown(
    embedded: EmbeddedPlace, tmp_path: Path
) -> None:
    trials: list[dict[str, Any]] = [{"lease": new_id(), "step": step} for step in range(1, STEPS + 1)]
    finished = await run_starter(embedded, trials, tmp_path)
    assert not finished[0]
    assert finished[-1], "STEPS is too small: the last step is never reached"
    await check_world(embedded, [trial["lease"] for trial in trials])


async def test_a_starter_killed_at_any_moment_leaves_nothing_unknown(
    embedded: EmbeddedPlace, tmp_path: Path
) -> None:
    trials: list[dict[str, Any]] = [{"lease": new_id(), "delay_s": random.uniform(0, 0.04)} for _ in range(20)]
    await run_starter(embedded, trials, tmp_path)
    await check_world(embedded, [trial["lease"] for trial in trials])


async def test_a_keeper_killed_at_any_moment_of_its_start_leaves_nothing_unknown(embedded: EmbeddedPlace) -> None:
    handles = []
    for _ in range(20):
        handle = await embedded.start(embedded.work(Kind.SERVER))
        handles.append(handle)
        await asyncio.sleep(random.uniform(0, 0.06))
        os.kill(handle.where["pid"], signal.SIGKILL)

    async def settled() -> bool:
        seen = await embedded.servers().seen()
        running = {one.handle.lease for one in seen if one.phase is Phase.RUNNING}
        return running == set(embedded.marked().values())

    await until(settled, lambda: embedded.report(handles[0]))
    assert {one.handle.lease for one in await embedded.servers().seen()} == {h.lease for h in handles}
    await asyncio.gather(*(embedded.servers().stop(handle, grace_s=5) for handle in handles))
    assert embedded.marked() == {}


async def test_without_its_keeper_a_run_is_still_seen_and_stopped(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "family"))
    facts = await embedded.facts(handle)
    os.kill(handle.where["pid"], signal.SIGKILL)

    for one in (await embedded.servers().poll(handle), *await embedded.servers().seen()):
        assert (one.handle.lease, one.phase) == (handle.lease, Phase.RUNNING)
    await embedded.servers().stop(handle, grace_s=5)
    assert not is_alive(facts["pid"])
    assert not is_alive(facts["grandchild"]), "it changed its session and cleared its environment"
    seen = await embedded.servers().poll(handle)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, None, Reason.STOPPED)


async def test_without_its_keeper_who_ignores_sigterm_is_killed_after_the_grace(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "stubborn"))
    facts = await embedded.facts(handle)
    os.kill(handle.where["pid"], signal.SIGKILL)
    await embedded.servers().stop(handle, grace_s=0.2)
    assert not is_alive(facts["pid"])


async def test_ports_stay_distinct_where_few_are_left(
    embedded: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is started does not listen at once: only the records keep two starts from one port."""
    monkeypatch.setattr(ports, "HIGH", ports.LOW + 40)
    works = [embedded.work(Kind.SERVER, command=["sleep", "600"]) for _ in range(16)]
    handles = await asyncio.gather(*(embedded.start(work) for work in works))
    assert len({handle.where["port"] for handle in handles}) == 16


@pytest.mark.parametrize("name", ["port", "hub_port", "portal_port"])
async def test_the_portals_own_ports_are_not_given(
    embedded: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One of them may be free for the instant in which its service is started again."""
    only = ports.free_port(set())
    monkeypatch.setattr(ports, "LOW", only)
    monkeypatch.setattr(ports, "HIGH", only + 1)
    embedded.settings = embedded.settings.model_copy(update={name: only})
    with pytest.raises(CouldNotStart, match="no free port"):
        await embedded.start(embedded.work(Kind.SERVER))


async def test_without_its_keeper_the_end_of_a_run_is_seen_and_its_exit_code_is_unknown(
    embedded: EmbeddedPlace,
) -> None:
    handle = await embedded.start(
        embedded.work(Kind.SERVER, command=[sys.executable, "-m", "stub"], stub="exit 5")
    )
    await embedded.ended(handle)
    assert (await embedded.servers().poll(handle)).exit_code == 5

    handle = await embedded.start(embedded.work(Kind.SERVER))
    pid = (await embedded.facts(handle))["pid"]

    async def recorded() -> bool:  # which may be after the run's own first words
        return (await embedded.servers().poll(handle)).started is not None

    await until(recorded, lambda: embedded.report(handle))
    os.kill(handle.where["pid"], signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    seen = await embedded.ended(handle)
    assert (seen.exit_code, seen.reason, seen.exact) == (None, Reason.KEEPER_LOST, False)
    assert [one.reason for one in await embedded.servers().seen()] == [Reason.FAILED, Reason.KEEPER_LOST]


async def test_what_a_run_started_ends_with_it_in_whatever_session(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "parent"))
    facts = await embedded.facts(handle)
    assert is_alive(facts["grandchild"])
    os.kill(facts["pid"], signal.SIGUSR1)
    seen = await embedded.ended(handle)
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED)
    assert not is_alive(facts["grandchild"])


async def test_stop_sweeps_grandchildren_in_sessions_of_their_own(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "family"))
    facts = await embedded.facts(handle)
    await embedded.servers().stop(handle, grace_s=5)
    assert not is_alive(facts["pid"])
    assert not is_alive(facts["grandchild"])


async def test_orphans_of_a_lost_keeper_go_with_their_run(embedded: EmbeddedPlace) -> None:
    """The keeper cannot end them any more, so the next look does."""
    handle = await embedded.start(embedded.work(Kind.SERVER, command=["sh", "-c", "setsid sleep 600 & sleep 600"]))
    started = await embedded.started(handle)

    async def sleeping() -> list[int] | None:
        family = set(embedded.marked(handle.lease)) - {started["pid"], handle.where["pid"]}
        return [*family] if len(family) == 2 else None

    orphans = await until(sleeping, lambda: embedded.report(handle))
    os.kill(handle.where["pid"], signal.SIGKILL)
    os.kill(started["pid"], signal.SIGKILL)
    await embedded.ended(handle)
    assert not any(is_alive(pid) for pid in orphans)


async def test_an_orphan_that_does_not_end_keeps_its_run_running(embedded: EmbeddedPlace) -> None:
    """What is said to have ended gives its GPU to the next one."""
    handle = await embedded.start(embedded.work(Kind.SERVER, command=["sh", "-c", "setsid sleep 600 & sleep 601"]))
    started = await embedded.started(handle)

    async def sleeping() -> int | None:
        found = [pid for pid in embedded.marked(handle.lease) if commandline(pid).split(b"\0")[1:2] == [b"600"]]
        return found[0] if found else None

    orphan = await until(sleeping, lambda: embedded.report(handle))
    with deaf(orphan):
        os.kill(handle.where["pid"], signal.SIGKILL)
        os.kill(started["pid"], signal.SIGKILL)
        await until(lambda: asyncio.sleep(0, not is_alive(started["pid"])), lambda: embedded.report(handle))
        for one in (await embedded.servers().poll(handle), *await embedded.servers().seen()):
            assert (one.phase, one.reason) == (Phase.RUNNING, None)
    seen = await embedded.ended(handle)
    assert (seen.exit_code, seen.reason) == (None, Reason.KEEPER_LOST)
    assert not is_alive(orphan)


Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start processes that are none of the runner's; ended after the test."""
    begun = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(command, start_new_session=True, **options))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


async def test_what_has_a_mark_but_no_record_is_seen_and_stopped(embedded: EmbeddedPlace, begin: Begin) -> None:
    lease = new_id()
    marks = {"DURE_PORTAL": embedded.settings.instance, "DURE_LEASE": lease, "DURE_KIND": "server"}
    stray = begin(["sleep", "600"], env=marks)
    await until(lambda: asyncio.sleep(0, bool(embedded.marked(lease))), lambda: asyncio.sleep(0, "no mark"))
    (seen,) = await embedded.servers().seen()
    assert (seen.handle.lease, seen.phase) == (lease, Phase.RUNNING)
    await embedded.servers().stop(seen.handle, grace_s=5)
    assert stray.wait(timeout=30) == -signal.SIGTERM
    assert (await embedded.servers().poll(seen.handle)).phase is Phase.GONE


async def test_a_forked_server_is_found_by_its_command_line(embedded: EmbeddedPlace, begin: Begin) -> None:
    lease = new_id()
    title = f"dure:{embedded.settings.instance}:server:{lease}"
    stray = begin([title, "600"], executable="/bin/sleep", env={})

    async def found() -> Handle | None:
        return next((one.handle for one in await embedded.servers().seen()), None)

    handle = await until(found, lambda: asyncio.sleep(0, "not seen"))
    assert handle.lease == lease
    await embedded.servers().stop(handle, grace_s=5)
    assert stray.wait(timeout=30) == -signal.SIGTERM


@pytest.mark.parametrize("mark", ["../../escape", "", "ä\udcff", "x" * 100])
async def test_marks_that_peoples_code_made_up_do_no_harm(
    embedded: EmbeddedPlace, begin: Begin, mark: str
) -> None:
    marks = {"DURE_PORTAL": embedded.settings.instance, "DURE_LEASE": mark, "DURE_KIND": "server"}
    begin(["sleep", "600"], env=marks)
    assert list(await embedded.servers().seen()) == []


async def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(
    embedded: EmbeddedPlace, begin: Begin
) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER))
    await embedded.started(handle)
    bystander = begin(["sleep", "600"])
    reused = Handle(handle.lease, handle.kind, {**handle.where, "pid": bystander.pid})
    await embedded.servers().stop(reused, grace_s=5)
    assert embedded.marked(handle.lease) == {}
    assert bystander.poll() is None
    never = Handle("never-was", Kind.SERVER, reused.where)
    assert (await embedded.servers().poll(never)).phase is Phase.GONE
    await embedded.servers().stop(never, grace_s=0)
    assert bystander.poll() is None


async def test_after_a_restart_of_the_machine_everything_has_ended_and_nothing_is_killed(
    embedded: EmbeddedPlace, begin: Begin
) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER))
    started = await embedded.started(handle)
    os.kill(handle.where["pid"], signal.SIGKILL)
    os.kill(started["pid"], signal.SIGKILL)
    await until(lambda: asyncio.sleep(0, not embedded.marked(handle.lease)), lambda: embedded.report(handle))
    bystander = begin(["sleep", "600"])
    # The record as the last boot left it, its pid and start time now a bystander's by the worst of luck.
    other = processes.find(bystander.pid)
    assert other is not None
    old = {**processes.identity(other), "boot_id": "another-boot"}
    record = embedded.run_folder(handle) / "started.json"
    record.write_text(json.dumps({**old, "keeper": old, "at": 1.0}))
    before = Handle(handle.lease, handle.kind, {**old, "port": handle.where["port"]})
    for seen in (await embedded.servers().poll(before), *await embedded.servers().seen()):
        assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, None, Reason.MACHINE_RESTARTED)
        assert not seen.exact
        assert seen.ended_ago_s == pytest.approx(processes.uptime_s(), abs=60), "at the latest when it was booted"
    await embedded.servers().stop(before, grace_s=0)
    assert bystander.poll() is None
    assert (await embedded.servers().poll(before)).reason == Reason.MACHINE_RESTARTED
    await embedded.servers().forget(before)


async def test_no_keeper_stays_as_a_zombie(embedded: EmbeddedPlace) -> None:
    handle = await embedded.start(embedded.work(Kind.SERVER, "exit 0"))
    await embedded.ended(handle)

    async def buried() -> bool:
        await embedded.servers().poll(handle)
        return all(child.pid != handle.where["pid"] for child in psutil.Process().children())

    await until(buried, lambda: embedded.report(handle))


async def test_secrets_lie_where_nobody_else_can_read(embedded: EmbeddedPlace) -> None:
    work = embedded.work(Kind.SERVER)
    handle = await embedded.start(
        embedded.work(Kind.SERVER, lease=work.lease, environment={**work.environment, "TOKEN": "in-no-file"})
    )
    await embedded.facts(handle)
    folder = embedded.run_folder(handle)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert b"in-no-file" not in file.read_bytes()
    for pid in embedded.marked():
        command = " ".join(psutil.Process(pid).cmdline())
        assert "in-no-file" not in command
        assert "s3cret" not in command


async def test_signals_that_the_portal_ignores_reach_the_run(place: Place) -> None:
    """A portal started in the background ignores SIGINT; kernels that did could not be interrupted."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        facts = await place.facts(await place.start(place.work(Kind.SERVER)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert facts["ignored"] & (1 << signal.SIGINT - 1) == 0
