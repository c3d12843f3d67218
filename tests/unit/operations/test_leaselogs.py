"""Logs of leases: there after the process is gone, for their owners, and not for ever."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dure.errors import NotFound
from dure.wire.ids import new_id
from dure_hub.backends.base import Phase, ServerWork
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.operations.environment_runs import EnvironmentRuns
from dure_hub.operations.leaselogs import Kept, LeaseLogs, surplus
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store.models import Lease
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben", teams=frozenset({"vision"})), Person("root", admin=True)


async def _ran(settings: Settings, lease: str, code: str) -> EmbeddedServers:
    """A real process of this lease, to its end."""
    servers = EmbeddedServers(settings)
    work = ServerWork(
        lease=lease,
        owner="ann",
        folder=settings.folder.root,
        environment={"PATH": os.environ["PATH"]},
        command=[sys.executable, "-c", code],
        api_token="secret-token-of-this-server",
    )
    handle = None
    async for found in servers.start(work):
        handle = found
    assert handle is not None
    for _ in range(600):
        if (await servers.poll(handle)).phase is Phase.EXITED:
            break
        await _moment()
    await servers.forget(handle)
    return servers


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0.05)


def _lease(world: World, lease: str, **more: object) -> None:
    row = {"owner": "ann", "team": "vision", "purpose": "notebook", "subject": "s", "profile": "cpu"}
    with world.store.transaction() as session:
        session.add(Lease(id=lease, granted_at=world.clock(), ended_at=world.clock(), **{**row, **more}))


async def test_the_log_is_there_after_the_process_and_its_folder_are_gone(tmp_path: Path) -> None:
    world, lease = World(tmp_path, stop_grace_s=1), new_id()
    world.settings.save()
    servers = await _ran(world.settings, lease, "print('the last words 끝')")
    assert not servers.runner.folder(lease).exists()
    _lease(world, lease)
    runs = EnvironmentRuns(world.settings, world.store, world.clock, servers, world.hub)
    logs = LeaseLogs(world.settings, world.store, [runs])
    for person in (ANN, ROOT):
        page = await logs.read(person, lease, 0)
        assert page.text.rstrip().endswith("the last words 끝")
        assert page.done
    assert (await logs.read(ANN, lease, -4)).text.strip() in "끝\n"
    with pytest.raises(NotFound):
        await logs.read(BEN, lease, 0)  # whose team pays for it, and who wrote none of it
    with pytest.raises(NotFound):
        await logs.read(ANN, new_id(), 0)
    kept = world.settings.folder.lease_logs / f"{lease}.log"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "secret-token" not in kept.read_text()
    await world.close()


async def test_what_a_lease_ran_twice_is_one_log_in_order(tmp_path: Path) -> None:
    world, lease = World(tmp_path, stop_grace_s=1), new_id()
    await _ran(world.settings, lease, "print('first')")
    await _ran(world.settings, lease, "print('second')")
    text = (world.settings.folder.lease_logs / f"{lease}.log").read_text()
    assert text.index("first") < text.index("second")
    await world.close()


async def test_old_ones_go(tmp_path: Path) -> None:
    world = World(tmp_path, lease_logs_days=1, lease_logs_kept=2)
    folder = world.settings.folder.lease_logs
    folder.mkdir(parents=True)
    for name, age_s in (("a", 2 * 86400), ("b", 30), ("c", 20), ("d", 10)):
        file = folder / f"{name}.log"
        file.write_text("x")
        at = file.stat().st_mtime - age_s
        os.utime(file, (at, at))
    await LeaseLogs(world.settings, world.store, []).tidy()
    assert sorted(path.name for path in folder.iterdir()) == ["c.log", "d.log"]
    await world.close()


def test_the_newest_that_fit_stay() -> None:
    found = [Kept(Path(f"{number}"), 10, number) for number in range(5)]
    assert [one.path.name for one in surplus(found, 0, 10, 25)] == ["2", "1", "0"]
    assert [one.path.name for one in surplus(found, 3, 10, 100)] == ["2", "1", "0"]
    assert surplus(found, 0, 5, 50) == []
    huge = Kept(Path("huge"), 1000, 9)
    assert surplus([*found, huge], 0, 5, 50) == [huge], "what is dropped takes nobody's place"


async def test_a_log_counts_with_what_it_takes_of_the_disk_from_when_it_was_kept(tmp_path: Path) -> None:
    world, lease = World(tmp_path, lease_logs_days=1, lease_logs_mb=1), new_id()
    forge = "import os; os.ftruncate(1, 1 << 40); os.utime(1, (1, 1))"
    await _ran(world.settings, lease, f"print('said', flush=True); {forge}")
    await LeaseLogs(world.settings, world.store, []).tidy()
    assert (world.settings.folder.lease_logs / f"{lease}.log").exists()
    await world.close()
