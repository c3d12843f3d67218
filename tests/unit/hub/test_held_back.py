"""A start that a queue beside the portal's holds back: what its spawner says, and leaves to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Handle, HeldBack, Kind, Phase, Reason, Seen, ServerWork
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.operations import shared_folders
from dure_hub.operations.progress import Progress
from dure_hub.spawners import leased
from dure_hub.spawners.leased import LeasedSpawner
from dure_hub.spawners.refusal import Refused
from dure_hub.spawners.steps import MOST, Steps
from dure_hub.store import system_clock
from tests.unit.hub.test_spawner import make_spawner, nothing

WHY = "insufficient unused quota, 1 more needed"
HELD = HeldBack(queue="dure-vision", why=WHY)


class Queued(EmbeddedServers):
    """Something is there from the first moment on, and is held back until `late` is set."""

    late: asyncio.Event
    did: list[str]

    async def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """Its handle, then nothing more."""
        yield Handle(work.lease, Kind.SERVER, {"name": "it"})
        await self.late.wait()
        raise HELD

    async def held_back(self, handle: Handle) -> str | None:
        """Always the same."""
        return WHY

    async def poll(self, handle: Handle) -> Seen:
        """It is there as long as nobody ends it."""
        over = "stop" in self.did
        return Seen(handle, Phase.EXITED if over else Phase.RUNNING, reason=Reason.STOPPED.value if over else None)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """End it."""
        self.did.append("stop")


class Rows:
    """Keeps in which order what was written; nothing where the store is away."""

    def __init__(self, did: list[str], *, away: bool = False) -> None:
        self.did, self.away = did, away

    async def save_handle(self, handle: Handle) -> None:
        """What is needed to end it."""
        self.did.append("handle")

    async def put_back(self, lease: str, held: HeldBack) -> None:
        """It is to wait again."""
        if self.away:
            raise RuntimeError("no store")
        self.did.append(f"put back: {held.facts['why']}")

    async def start_failed(self, lease: str, reason: str, log: str) -> None:
        """It has failed."""
        self.did.append("failed")


async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> tuple[LeasedSpawner, list[str]]:
    """A spawner of ana's, and what is done in its start."""
    monkeypatch.setattr(leased, "WHY_S", 0.01)
    monkeypatch.setattr(shared_folders, "arrange", nothing)
    spawner = make_spawner(tmp_path, ["none"], Queued)
    did: list[str] = []
    servers: Any = spawner.operations.servers
    servers.late, servers.did = asyncio.Event(), did
    spawner.operations.environments = Rows(did, **more)  # type: ignore[assignment]
    return spawner, did


async def test_its_request_is_put_back_before_anything_is_ended_and_it_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner, did = await make(tmp_path, monkeypatch)
    starting = asyncio.create_task(spawner.start())
    async with asyncio.timeout(20):
        while "handle" not in did:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    spawner.operations.servers.late.set()  # type: ignore[attr-defined]
    with pytest.raises(Refused) as refused:
        await starting
    assert did == ["handle", f"put back: {WHY}", "stop"]
    assert "keeps its place" in refused.value.jupyterhub_message


async def test_where_that_cannot_be_written_it_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner, did = await make(tmp_path, monkeypatch, away=True)
    spawner.operations.servers.late.set()  # type: ignore[attr-defined]
    with pytest.raises(Refused):
        await spawner.start()
    assert did[-1] == "stop"


async def test_why_it_is_held_back_is_a_step_of_the_start_in_every_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner, _ = await make(tmp_path, monkeypatch)
    starting = asyncio.create_task(spawner.start())
    progress, clock = Progress(), system_clock(None)
    async with asyncio.timeout(20):
        async for event in spawner.progress():
            progress.note("lease", event, clock())
            assert event["code"] != "process", "nothing of it runs"
            if event["code"] == "held_back":
                assert WHY in event["message"]
                break
    said = progress.of("lease")[-1].text
    assert said["en"] == f"Kueue, the cluster's own queue, holds it back: {WHY}"
    assert WHY in said["ko"]
    spawner.operations.servers.late.set()  # type: ignore[attr-defined]
    with pytest.raises(Refused):
        await starting


def test_reasons_that_change_all_the_time_do_not_fill_the_page() -> None:
    steps = Steps()
    for number in range(2 * MOST):
        steps.add("held_back", f"{number} wait in the queue")
    steps.add("process")
    assert len(steps._done) == MOST + 1
    assert steps._done[-1] == ("process", "")
