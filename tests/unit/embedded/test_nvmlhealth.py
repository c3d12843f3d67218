"""Faults, XID events and foreign processes by NVML, against the small C library in NVML's place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.embedded import measuregpus
from tests.unit.embedded.conftest import Ask

HEALTH = """
import dataclasses, json, sys
from dure_hub.backends.embedded import measuregpus, nvmlhealth
from dure_hub.settings import Settings
measuregpus.sees_all = lambda: True
allowed = ["allowed-server-with-a-name"]
settings = Settings(data="/nowhere", instance="0" * 12, outside_memory_mb=300, outside_allowed=allowed)
print(json.dumps(dataclasses.asdict(nvmlhealth.look(settings, ()))))
"""
LISTEN = """
import dataclasses, json, os, sys, time
from dure_hub.backends.embedded.nvmlevents import XidWatch
watch, path = XidWatch(), os.environ["STUB_XIDS"]
before = [one.facts for one in watch.found()]
with open(path, "a") as file:
    file.write("0 31\\n1 79\\n0 31\\n")
deadline = time.monotonic() + 20
while len(watch.found()) < 2 and time.monotonic() < deadline:
    time.sleep(0.02)
found = [(one.device[-1], one.code, one.facts["xid"], one.at is not None) for one in watch.found()]
watch.close()
print(json.dumps({"before": before, "found": sorted(found), "alive": watch._thread.is_alive()}))
"""
FIRST, SECOND = (f"GPU-00000000-0000-0000-0000-{index:012}" for index in range(2))


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def codes(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["device"], one["code"]) for one in found["faults"]]


def test_a_gpu_that_is_lost_is_not_there_and_the_look_is_one(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "lost").write_text("0\n")
    found = ask(HEALTH, gpus=2, lost_file=tmp_path / "lost")
    assert [one["uuid"] for one in found["present"]] == [SECOND]
    (tmp_path / "lost").write_text("0 1\n")
    assert ask(HEALTH, gpus=2, lost_file=tmp_path / "lost")["present"] == [], "all lost is still an answer"


@pytest.mark.parametrize("init", [9, 12, 4, 999])
def test_a_driver_that_does_not_answer_is_no_look(ask: Ask, init: int) -> None:
    assert ask(HEALTH, gpus=2, init=init)["present"] is None


def test_what_cannot_be_repaired_is_a_fault_and_what_waits_for_a_reset_is_none(ask: Ask) -> None:
    assert codes(ask(HEALTH, kinds="h100,4090", failed=1)) == [(FIRST, "rows")]
    assert codes(ask(HEALTH, kinds="h100,4090", pending=1)) == []


def test_double_bit_errors_count_where_no_rows_are_replaced(ask: Ask) -> None:
    assert codes(ask(HEALTH, kinds="h100,4090", ecc=2)) == [(SECOND, "ecc")]
    assert codes(ask(HEALTH, kinds="h100,4090")) == []
    assert codes(ask(HEALTH, gpus=1, plain=1)) == []


def test_xids_are_heard_as_they_come_each_once(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "xids").touch()
    said = ask(LISTEN, gpus=2, xids=tmp_path / "xids")
    assert said == {"before": [], "found": [["0", "xid", 31, True], ["1", "xid", 79, True]], "alive": False}


def test_a_process_from_outside_is_named_with_its_user(ask: Ask, stranger: int) -> None:
    found = ask(HEALTH, kinds="h100,4090", running=f"0:{stranger}:9000,1:{stranger}:299", drawing="")
    assert set(found["outsiders"]) == {FIRST}, "what is below the threshold does not count"
    (one,) = found["outsiders"][FIRST]
    assert (one["pid"], one["memory_mb"]) == (stranger, 9000)
    assert one["name"].startswith("python")
    assert one["user"] == ("root" if os.geteuid() == 0 else os.environ.get("USER", one["user"]))


def test_who_draws_counts_too_and_unknown_memory_is_not_little(ask: Ask, stranger: int) -> None:
    found = ask(HEALTH, kinds="4090", drawing=f"0:{stranger}:800")
    assert [one["memory_mb"] for one in found["outsiders"][FIRST]] == [800]
    found = ask(HEALTH, kinds="4090", running=f"0:{stranger}:-1")
    assert [one["memory_mb"] for one in found["outsiders"][FIRST]] == [None]


def test_who_carries_a_leases_mark_is_ours_and_so_are_its_children(ask: Ask) -> None:
    marks = {"DURE_PORTAL": "0" * 12, "DURE_LEASE": "01J0000000000000000000000A", "DURE_KIND": "job"}
    child = (
        "import subprocess, sys; one = subprocess.Popen([sys.executable, '-c', 'input()'], env={}); "
        "print(one.pid, flush=True); one.wait()"
    )
    command, pipe = [sys.executable, "-c", child], subprocess.PIPE
    environment = {**os.environ, **marks}
    # leaving it closes its input, and what waits for input ends
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as ours:
        assert ours.stdout is not None
        grandchild = int(ours.stdout.readline())
        found = ask(HEALTH, kinds="4090", running=f"0:{ours.pid}:9000,0:{grandchild}:9000")
        assert ours.stdin is not None
        ours.stdin.close()
        assert found["outsiders"] == {}


def test_a_display_server_on_the_list_blocks_nobody(ask: Ask, tmp_path: Path) -> None:
    named = tmp_path / "allowed-server-with-a-name"
    named.symlink_to(sys.executable)
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'allowed-server-'); print(1, flush=True); input()"
    with subprocess.Popen([named, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = ask(HEALTH, kinds="4090", drawing=f"0:{process.pid}:5000")
        process.kill()
        assert found["outsiders"] == {}


def test_in_a_container_whose_numbers_mean_nothing_nobody_is_accused(ask: Ask, stranger: int) -> None:
    blind = HEALTH.replace("lambda: True", "lambda: False")
    assert ask(blind, kinds="4090", running=f"0:{stranger}:9000")["outsiders"] == {}
    assert isinstance(measuregpus.sees_all(), bool)


WHOLE = """
import asyncio, json, os, sys, time
from pathlib import Path
from dure_hub.backends.embedded import EmbeddedInventory
from dure_hub.operations.devices import Devices
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url, system_clock
from dure_hub.store.migrate import migrate

root, lost, xids = Person("root", admin=True), Path(os.environ["STUB_LOST_FILE"]), Path(os.environ["STUB_XIDS"])
settings = Settings(data=lost.parent / "data", instance="0" * 12)
settings.folder.create()
migrate(settings)
store, clock, inventory = Store(database_url(settings)), system_clock(None), EmbeddedInventory(settings)
devices, profiles = Devices(store, clock, inventory), Profiles(settings, store, clock, inventory)
devices.changed = profiles.forget

async def seen():
    states = {one.uuid[-1]: one.state for one in await devices.list(root)}
    whole = next(one for one in await profiles.list(root) if one.gpus == 1)
    return [states, whole.free, whole.total]

async def main():
    said = []
    await devices.look()
    said.append(await seen())
    lost.write_text("0")
    for _ in range(2):
        await devices.look()
    profiles.forget()
    said.append(await seen())
    xids.write_text("1 79\\n")
    deadline = time.monotonic() + 20
    while (await seen())[0]["1"] == "healthy" and time.monotonic() < deadline:
        await devices.look()
    said.append(await seen())
    lost.write_text("")
    for uuid in [one.uuid for one in await devices.list(root)]:
        await devices.uncordon(root, uuid)
    for _ in range(3):
        await devices.look()
    said.append(await seen())
    inventory.close()
    store.close()
    print(json.dumps(said))

asyncio.run(main())
"""


def test_from_the_drivers_library_to_what_is_free(ask: Ask, tmp_path: Path) -> None:
    """Through the real NVML adapter, its thread of events, the store and the board."""
    for name in ("lost", "xids"):
        (tmp_path / name).touch()
    said = ask(WHOLE, kinds="h100,h100", lost_file=tmp_path / "lost", xids=tmp_path / "xids")
    assert said == [
        [{"0": "healthy", "1": "healthy"}, 2, 2],
        [{"0": "unhealthy", "1": "healthy"}, 1, 2],
        [{"0": "unhealthy", "1": "unhealthy"}, 0, 2],
        [{"0": "healthy", "1": "healthy"}, 2, 2],
    ]
