"""Ana's schedule as the pages show it, and executions of it as if they had run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from dure.wire.schedules import ScheduleRequest
from dure_hub.operations import Operations, Person
from dure_hub.operations.people import USE
from dure_hub.services.places import BASE
from dure_hub.store.models import Execution
from tests.support.zips import zipped
from tests.unit.services.conftest import Browser

v4: Any = import_module("nbformat.v4")
ANA = Person("ana", False, frozenset({USE}))
PLACE = f"{BASE}/schedules"
FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}


def notebook(*cells: Any) -> str:
    """A notebook's text."""
    return json.dumps(v4.new_notebook(cells=list(cells)))


def cell(source: str, *outputs: Any) -> Any:
    """A cell that ran."""
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=1)


@pytest.fixture
async def schedule(ops: Operations) -> str:
    """Ana's schedule `nightly`, of a notebook with a parameter."""
    declared = cell("x: int = 1")
    declared.metadata.tags = ["parameters"]
    digest, content = zipped({"retrain.ipynb": notebook(declared)})

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    await ops.snapshots.put(digest, pieces())
    ask = ScheduleRequest(
        id=new_id(),
        name="nightly",
        snapshot=digest,
        notebook="retrain.ipynb",
        cron="0 6 * * *",
        timezone="Asia/Seoul",
        parameters={"x": 5},
    )
    await ops.schedules.create(ANA, ask)
    return "nightly"


async def leave(ops: Operations, number: int, text: str, **changes: Any) -> None:
    """As if this execution had run: its notebook on disk, its row as given."""

    def write(session: Any) -> str:
        row = session.query(Execution).filter_by(number=number).one()
        row.started_at = row.created_at
        for name, value in changes.items():
            setattr(row, name, value)
        return str(row.id)

    execution = await ops.store.run(write)
    outputs = ops.settings.folder.executions / execution / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / "executed.ipynb").write_text(text)


async def ran(anyone: httpx.AsyncClient, ana: Browser) -> None:
    """Ask for an execution by the form."""
    sent = {"csrf": ana.csrf, "id": new_id()}
    assert (await anyone.post(f"{PLACE}/nightly/run", data=sent, headers=ana.navigate())).status_code == 303
