"""A disk that fills up: nothing new starts, and what must be written still is."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations.disk import Disk
from dure_hub.operations.disk_errors import NoRoomOnDisk
from dure_hub.operations.ledger import Ledger
from dure_hub.operations.people import Person
from dure_hub.policies.disk import MIB
from dure_hub.services.why import told
from dure_hub.store.models import Event, Lease, Ticket
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)
SIZE_MB = 96


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small and empty."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system to fill")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "dure-test", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        # lazily: what a failed test still has open must not leave it mounted
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
async def full_world(small_disk: Path) -> AsyncIterator[World]:
    """A portal on it, with what looks after the disk."""
    made = World(small_disk, disk_minimum_mb=0, disk_reserve_mb=8)
    disk = Disk(made.settings, made.clock)
    made.profiles.full = disk.why_full
    made.disk = disk  # type: ignore[attr-defined]
    yield made
    await disk.close()
    await made.close()


def fill(place: Path, leave_mb: float = 0) -> Path:
    """Take all of the file system but so much."""
    waste = place / "users" / "ann"
    waste.mkdir(parents=True, exist_ok=True)
    file = waste / "waste"
    with file.open("ab") as out:
        while True:
            about = os.statvfs(place)
            left = about.f_bavail * about.f_frsize - int(leave_mb * MIB)
            if left <= 0:
                return file
            try:
                out.write(b"\0" * min(left, MIB))
                out.flush()
            except OSError:
                return file


async def ask(world: World, name: str = "default", person: Person = ANN) -> wire.Environment:
    return await world.environments.request(person, wire.EnvironmentRequest(id=new_id(), name=name, profile="cpu"))


async def test_on_a_full_disk_nothing_starts_and_stops_and_ledger_work(
    full_world: World, small_disk: Path
) -> None:
    world, disk = full_world, full_world.disk  # type: ignore[attr-defined]
    await disk.keep_reserve()
    assert (world.settings.folder.db / "reserve").stat().st_size == 8 * MIB
    await ask(world)
    grant = await world.environments.claim("ann", "default", None, None)
    await world.environments.save_handle(world.servers.put(grant.lease))
    await world.reconciler.look()
    waste = fill(small_disk)
    await disk.keep_reserve()
    assert not (world.settings.folder.db / "reserve").exists(), "it is let go where nothing else is left"
    await asyncio.gather(disk._counting)
    with pytest.raises(NoRoomOnDisk) as refused:
        await ask(world, "other")
    sentence = refused.value.text("en")
    assert "5 %" in sentence.replace("5.0", "5")
    assert "users/" in sentence
    world.clock.move(3600)
    await world.reconciler.look()
    await world.environments.stop(ANN, "default")
    for _ in range(3):
        world.servers.there.clear()
        await world.reconciler.look()
    assert (await world.environments.get(ANN, "default")).phase == "stopped"
    costs = await Ledger(world.store, world.clock).costs(ANN)
    assert costs.total.hours == pytest.approx(1, abs=0.01)
    with world.store.reading() as session:
        assert session.scalar(select(Event.id).where(Event.verb == "lease.end")) is not None
    waste.unlink()
    await disk.keep_reserve()
    assert (world.settings.folder.db / "reserve").exists()
    assert (await ask(world, "other")).lease is not None


async def test_who_waits_goes_on_waiting_with_that_reason_and_starts_with_room(
    full_world: World, small_disk: Path
) -> None:
    world = full_world
    for name in ("a", "b", "c"):
        await ask(world, name)
    waste = fill(small_disk, leave_mb=2)
    for name in ("a", "b"):  # room in cores and memory, and none on the disk
        await world.environments.stop(ANN, name)
    for _ in range(3):
        world.servers.there.clear()
        await world.reconciler.look()
    waiting = told(await world.environments.get(ANN, "c"))
    assert waiting.phase == "waiting"
    assert waiting.ticket is not None
    assert (waiting.ticket.waits_for, waiting.ticket.verdict["code"]) == ("disk", "disk_low")
    assert waiting.ticket.why is not None
    assert "%" in waiting.ticket.why["ko"]
    waste.unlink()
    await world.reconciler.look()
    assert (await world.environments.get(ANN, "c")).lease is not None
    with world.store.reading() as session:
        assert session.scalar(select(Ticket.id).where(Ticket.state == "waiting")) is None
        assert session.scalar(select(Lease.id).where(Lease.ended_at.is_(None))) is not None


async def test_homes_are_told_to_their_owners_and_to_administrators(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name, size in (("ann", 3), ("ben", 1)):
        home = world.settings.folder.users / name
        home.mkdir()
        (home / "file").write_bytes(os.urandom(size * MIB))
        (home / "link").symlink_to("/")
    disk = Disk(world.settings, world.clock, usage=lambda _: (40, 1000))
    await disk.keep_reserve()
    await asyncio.gather(disk._counting or asyncio.sleep(0))
    mine, all_of_it = await disk.shown(ANN), await disk.shown(ROOT)
    assert [one.folder for one in mine.homes] == ["users/ann"]
    assert [one.folder for one in all_of_it.homes] == ["users/ann", "users/ben"]
    assert 3 * MIB <= all_of_it.homes[0].size < 4 * MIB, "links are not followed"
    assert (mine.starts, mine.free_percent) == (False, 4.0)
    sizes = {one.folder: one.size for one in mine.folders}
    assert sizes["users/"] >= 4 * MIB
    why = await disk.why_full()
    assert why is not None
    assert "ann" not in str(why.facts["largest"])
    await disk.close()
    await world.close()


async def test_what_cannot_be_counted_in_time_is_at_least_so_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    (world.settings.folder.users / "ann").mkdir()
    monkeypatch.setattr("dure_hub.operations.disk._BOUND_S", 0.0)
    disk = Disk(world.settings, world.clock)
    await disk.keep_reserve()
    await asyncio.gather(disk._counting or asyncio.sleep(0))
    shown = await disk.shown(ROOT)
    assert all(one.at_least for one in (*shown.folders, *shown.homes))
    await disk.close()
    await world.close()
