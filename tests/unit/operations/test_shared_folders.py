"""What starts is told which shared folders its owner is admitted to, by the teams they are in then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Work
from dure_hub.settings import Settings
from dure_hub.store.models import TeamMember
from tests.support.schedules import ANA, ask, over, run
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings
from tests.unit.hub.test_spawner import make_spawner

FOLDERS: list[dict[str, Any]] = [
    {"name": "all"},
    {"name": "vision", "teams": ["vision"]},
    {"name": "sound", "teams": ["sound"]},
]


@pytest.fixture
async def settings(tmp_path: Path, mlflow: Settings) -> AsyncIterator[Settings]:
    """With three folders."""
    folders = [{**one, "path": str(tmp_path / one["name"])} for one in FOLDERS]
    made = workshop_settings(tmp_path / "data", mlflow, shared_folders=folders)
    yield made
    await end_all(made)


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Workshop]:
    """The operations; ana is in one team and has left another."""
    async with workshop(settings) as made:
        rows = [TeamMember(team="vision", name="ana"), TeamMember(team="sound", name="ana", leaving=True)]
        await made.store.run(lambda session: session.add_all(rows))
        yield made


class Told(BaseException):
    """Instead of a start: what it was told. No error, which a start would take for its own."""


def told(patch: pytest.MonkeyPatch, backend: Any) -> set[tuple[str, ...]]:
    """The folders of what it starts from now on; a start may be asked for twice."""
    found = set[tuple[str, ...]]()
    start = backend.start

    def watched(work: Work) -> AsyncIterator[Handle]:
        found.add((*work.shared,))
        return start(work)  # type: ignore[no-any-return]

    patch.setattr(backend, "start", watched)
    return found


async def test_a_job_is(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(monkeypatch, shop.training)
    digest = await shop.upload({"train.py": "print('done')\n"})
    asked = {"id": new_id(), "name": "first", "snapshot": digest, "entry": "train.py"}
    await shop.jobs.submit(ANA, wire.JobRequest.model_validate(asked))

    async def ended() -> bool:
        return (await shop.jobs.get(ANA, "first")).state == "succeeded"

    await shop.until(ended, "it ends")
    assert found == {("all", "vision")}


async def test_a_notebook_that_runs_by_itself_is(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(monkeypatch, shop.executions)
    await shop.schedules.create(ANA, await ask(shop))
    await run(shop)
    await over(shop)
    assert found == {("all", "vision")}


async def test_a_server_is(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(work: Work) -> AsyncIterator[Handle]:
        raise Told(*work.shared)

    spawner = make_spawner(tmp_path / "hub", ["none"])
    monkeypatch.setattr(spawner.operations, "settings", shop.settings)
    monkeypatch.setattr(spawner.operations, "store", shop.store)
    monkeypatch.setattr(spawner.operations.servers, "start", start)
    with pytest.raises(Told) as told:
        await spawner.start()
    assert told.value.args == ("all", "vision")
