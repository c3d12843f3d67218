"""A start whose place tells how far it is, as a cluster does of its pods: what whoever waits reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Handle, Kind, Phase, Seen, ServerWork
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.backends.kubernetes.errors import ClusterAway, PodStuck
from dure_hub.operations import shared_folders
from dure_hub.operations.progress import Progress
from dure_hub.spawners import leased
from dure_hub.spawners.refusal import Refused
from dure_hub.store import system_clock
from tests.unit.hub.test_spawner import make_spawner, nothing

NODE, IMAGE, WHY = ("on_node", "node-1"), ("image", "tool:1"), "0/1 nodes are available: 1 Insufficient cpu."


class Telling(EmbeddedServers):
    """It comes to what is said, step by step, and then gets stuck. The first look finds nobody at home."""

    def said(self) -> None:
        """What it comes to, one look after the other."""
        self.looks = iter([None, [("no_node", WHY)], [NODE], [NODE, IMAGE]])
        self.told = asyncio.Event()

    async def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """Its handle, then nothing more."""
        yield Handle(work.lease, Kind.SERVER, {"name": "it"})
        await self.told.wait()
        raise PodStuck(seconds=1, why="-")

    async def came_to(self, handle: Handle) -> Sequence[tuple[str, str]]:
        """The next of these."""
        found = next(self.looks, [NODE, IMAGE])
        if found is None:
            raise ClusterAway(why="no answer")
        return found

    async def poll(self, handle: Handle) -> Seen:
        """There is nothing to look at."""
        return Seen(handle, Phase.GONE)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """There is nothing to end."""


class Rows:
    """Keeps nothing."""

    async def save_handle(self, handle: Handle) -> None:
        """What is needed to end it."""

    async def start_failed(self, lease: str, reason: str, log: str) -> None:
        """It has failed."""


async def test_the_steps_of_a_pod_are_told_as_it_comes_to_them_in_every_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased, "WHY_S", 0.01)
    monkeypatch.setattr(shared_folders, "arrange", nothing)
    spawner = make_spawner(tmp_path, ["none"], Telling)
    servers: Any = spawner.operations.servers
    servers.said()
    spawner.operations.environments = Rows()  # type: ignore[assignment]
    starting = asyncio.create_task(spawner.start())
    progress, clock, codes = Progress(), system_clock(None), list[str]()
    async with asyncio.timeout(20):
        async for event in spawner.progress():
            progress.note("lease", event, clock())
            codes.append(event["code"])
            if event["code"] == "image":
                break
    assert codes == ["folder", "no_node", "on_node", "image"], "a cluster that was away for a look hides nothing"
    said = {step.text["en"]: step for step in progress.of("lease")}
    assert f"The cluster has no node for it yet: {WHY}" in said
    assert "Its pod is on the node node-1." in said
    assert all("tool:1" in progress.of("lease")[-1].text[language] for language in ("en", "ko"))
    percents = [step.percent for step in progress.of("lease") if step.percent is not None]
    assert percents == sorted(percents)
    servers.told.set()
    with pytest.raises(Refused):
        await starting
