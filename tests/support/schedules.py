"""Schedules of a workshop: whose they are, their notebooks, and what tests ask of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations.people import USE, Person
from dure_hub.operations.schedule_rows import OVER
from dure_hub.settings import Settings
from dure_hub.store.models import Event
from tests.support.notebooks import QuickExecutions, notebook
from tests.support.workshop import Workshop, end_all, workshop, workshop_settings

ANA, BEN = Person("ana", scopes=frozenset({USE})), Person("ben", scopes=frozenset({USE}))
ROOT = Person("root", admin=True, scopes=frozenset({USE}))
WAIT = "import time\nprint('waiting', flush=True)\nwhile True:\n    time.sleep(0.05)"
WHO = (
    "import os, pathlib\nprint(pathlib.Path(os.environ['DURE_TOKEN_FILE']).read_text(), "
    "os.environ['DURE_EXECUTION'], os.environ['LOGNAME'], os.environ['MLFLOW_EXPERIMENT_NAME'])"
)
FILES = {
    "work.ipynb": notebook("print('epochs', epochs)", parameters="epochs: int = 3\nname = 'digits'"),
    "wait.ipynb": notebook(WAIT, parameters="epochs = 3"),
    "fail.ipynb": notebook("x = 1", "raise ValueError('no data \\x1b[31mhere')"),
    "who.ipynb": notebook(WHO),
    "in/deep.ipynb": notebook("print('deep')"),
    "julia.ipynb": json.dumps({"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "julia"}}}),
    "text.ipynb": "no notebook",
}


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Settings]:
    """A data folder; whatever runs of it is ended at the end."""
    made = workshop_settings(tmp_path / "data")
    yield made
    await end_all(made)


@pytest.fixture
async def shop(data: Settings) -> AsyncIterator[Workshop]:
    """The operations."""
    async with workshop(data, executions=QuickExecutions(data)) as made:
        yield made


def pass_time(settings: Settings, seconds: float) -> None:
    """Move the portal's clock on."""
    clock = settings.folder.root / "clock"
    clock.write_text(str(float(clock.read_text() if clock.exists() else 0) + seconds))


async def ask(
    shop: Workshop, file: str = "work.ipynb", name: str = "nightly", **more: Any
) -> wire.ScheduleRequest:
    """A schedule of one of FILES, due every minute."""
    values = {"id": new_id(), "name": name, "notebook": file, "cron": "* * * * *", **more}
    return wire.ScheduleRequest.model_validate({"snapshot": await shop.upload(FILES), **values})


async def run(shop: Workshop, name: str = "nightly", **parameters: Any) -> wire.Execution:
    """Run one of ana's now."""
    return await shop.schedules.run_now(ANA, name, wire.RunRequest(id=new_id(), parameters=parameters))


async def over(shop: Workshop, number: int = 1, name: str = "nightly") -> wire.Execution:
    """Wait for the end of one of ana's executions."""

    async def look() -> wire.Execution | None:
        execution = await shop.schedules.execution(ANA, name, number)
        return execution if execution.state in OVER else None

    execution = await shop.until(look, f"{name}/{number} ends")
    assert execution is not None
    return execution


async def says(shop: Workshop, text: str, number: int = 1) -> None:
    """Wait until one of ana's executions has said this."""

    async def look() -> bool:
        return text in (await shop.schedules.logs(ANA, "nightly", number)).text

    await shop.until(look, f"{number} says {text}")


async def states(shop: Workshop) -> list[tuple[int, str]]:
    """Number and state of ana's executions, oldest first."""
    return [(one.number, one.state) for one in reversed(await shop.schedules.executions(ANA, "nightly"))]


def verbs(shop: Workshop, *kinds: str) -> list[str]:
    """The events of these kinds of things, in order."""
    with shop.store.reading() as session:
        found = session.scalars(select(Event.verb).order_by(Event.id)).all()
    return [verb for verb in found if verb.startswith(kinds)]
