"""Notebooks on schedule in a whole portal, with nobody logged in: there is a token, and no browser or server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until
from tests.support.notebooks import notebook
from tests.support.zips import zipped

WHO = """import os, httpx
from pathlib import Path
token = Path(os.environ["DURE_TOKEN_FILE"]).read_text()
me = httpx.get(os.environ["DURE_URL"] + "/api/v1/me", headers={"Authorization": f"Bearer {token}"}).json()
print("I am", me["name"], "with", epochs, "epochs")"""
TRACK = """import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
print("its id is", run.info.run_id)"""
FILES = {
    "work.ipynb": notebook(WHO, parameters="epochs: int = 3"),
    "track.ipynb": notebook(TRACK),
    "fail.ipynb": notebook("x = 1", "raise ValueError('no data here')"),
    "wait.ipynb": notebook("import time\nprint('waiting')\nwhile True: time.sleep(0.1)"),
}
OVER = ("succeeded", "failed", "stopped", "skipped")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that moves the portal's time."""
    return tmp_path_factory.mktemp("clock") / "offset"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, clock: Path) -> Iterator[Portal]:
    """A portal of its own, since its clock is moved and it is taken down in between."""
    made = make_portal(tmp_path_factory.mktemp("portal"), DURE_CLOCK_FILE=str(clock))
    try:
        made.up()
        made.add_user("ana")
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def ana(portal: Portal) -> Iterator[httpx.Client]:
    """Ana's own program; she has no server and is not logged in."""
    with portal.client("ana") as client:
        yield client


@pytest.fixture(scope="module")
def snapshot(ana: httpx.Client) -> str:
    """The notebooks, uploaded."""
    digest, content = zipped(FILES)
    assert ana.put(f"/snapshots/{digest}", content=content).status_code == 204
    return digest


def schedule(ana: httpx.Client, snapshot: str, name: str, **more: Any) -> httpx.Response:
    """The answer to a request for one that is far from due, unless it says otherwise."""
    asked = {"id": new_id(), "name": name, "snapshot": snapshot, "notebook": "work.ipynb", "cron": "0 0 29 2 *"}
    return ana.post("/schedules", json={**asked, **more})


def run(ana: httpx.Client, name: str, **parameters: Any) -> httpx.Response:
    """The answer to a request to run it now."""
    return ana.post(f"/schedules/{name}/run", json={"id": new_id(), "parameters": parameters})


def executions(ana: httpx.Client, name: str) -> list[dict[str, Any]]:
    """All of them, the oldest first."""
    found: list[dict[str, Any]] = ana.get(f"/schedules/{name}/executions").json()
    return found[::-1]


def ended(ana: httpx.Client, name: str, number: int = 1, timeout: float = 90) -> dict[str, Any]:
    """One execution, once it has ended."""

    def look() -> dict[str, Any] | None:
        one = next((one for one in executions(ana, name) if one["number"] == number), None)
        return one if one is not None and one["state"] in OVER else None

    found = until(look, f"{name}/{number} ends", timeout)
    assert found is not None
    return found


def log(ana: httpx.Client, name: str, number: int = 1) -> str:
    """What an execution has said."""
    return str(ana.get(f"/schedules/{name}/executions/{number}/logs").json()["text"])


def test_it_fires_by_itself_at_its_real_minute(ana: httpx.Client, snapshot: str) -> None:
    made = schedule(ana, snapshot, "minutely", cron="* * * * *", timezone="Asia/Seoul", parameters={"epochs": 7})
    assert made.status_code == 201, made.text
    first = ended(ana, "minutely", timeout=150)
    ana.post("/schedules/minutely/pause")
    assert first["state"] == "succeeded", log(ana, "minutely")
    assert first["due_at"] == made.json()["next_at"]
    due, made_at = (datetime.fromisoformat(first[name]) for name in ("due_at", "created_at"))
    assert due.second == 0
    assert timedelta(0) <= made_at - due < timedelta(seconds=30)
    assert "I am ana with 7 epochs" in log(ana, "minutely")
    executed = ana.get("/schedules/minutely/executions/1/notebook")
    assert "I am ana with 7 epochs" in executed.text
    assert executed.json()["nbformat"] == 4
    assert ana.get("/environments").json() == []


def test_parameters_that_do_not_fit_are_refused_in_a_sentence(ana: httpx.Client, snapshot: str) -> None:
    assert schedule(ana, snapshot, "strict").status_code == 201
    for parameters, code, says in (
        ({"x=1\nimport os": 1}, "parameter_name", "not a name that a Python variable can have"),
        ({"epoch": 1}, "parameter_unknown", "It has: epochs."),
        ({"epochs": "many"}, "parameter_type", "epochs = many is str, and work.ipynb wants int."),
    ):
        for answer in (
            schedule(ana, snapshot, "refused", parameters=parameters),
            ana.post("/schedules/strict/run", json={"id": new_id(), "parameters": parameters}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
            assert says in answer.json()["error"]["message"]
    assert ana.get("/schedules/refused").status_code == 404
    assert executions(ana, "strict") == []


def test_two_at_once_do_not_clash(ana: httpx.Client, snapshot: str) -> None:
    assert schedule(ana, snapshot, "twice").status_code == 201
    numbers = {epochs: run(ana, "twice", epochs=epochs).json()["number"] for epochs in (5, 6)}
    for epochs, number in numbers.items():
        one = ended(ana, "twice", number)
        assert one["state"] == "succeeded", log(ana, "twice", number)
        kept = ana.get(f"/schedules/twice/executions/{number}/notebook").text
        assert f"I am ana with {epochs} epochs" in kept


def test_a_failed_run_names_its_cell(ana: httpx.Client, snapshot: str) -> None:
    schedule(ana, snapshot, "failing", notebook="fail.ipynb")
    run(ana, "failing")
    one = ended(ana, "failing")
    assert one["state"] == "failed"
    assert one["reason"] == "Stopped at cell 2: ValueError: no data here"
    assert (one["failure"]["cell"], one["failure"]["error"]) == (2, "ValueError")


def test_its_runs_are_the_owners_in_mlflow(ana: httpx.Client, snapshot: str, portal: Portal) -> None:
    schedule(ana, snapshot, "tracking", notebook="track.ipynb")
    run(ana, "tracking")
    one = ended(ana, "tracking")
    said = log(ana, "tracking")
    assert one["state"] == "succeeded", said
    run_id = said.split("its id is ")[1].split()[0]
    kept = ana.get(f"{portal.url}/services/mlflow/api/2.0/mlflow/runs/get", params={"run_id": run_id})
    assert kept.status_code == 200, kept.text
    tags = {tag["key"]: tag["value"] for tag in kept.json()["run"]["data"]["tags"]}
    assert tags["mlflow.user"] == "ana"


def test_what_was_missed_while_all_was_down_runs_once(
    ana: httpx.Client, snapshot: str, portal: Portal, clock: Path
) -> None:
    hour = (datetime.now(UTC) + timedelta(hours=12)).hour
    daily = schedule(ana, snapshot, "daily", cron=f"0 {hour} * * *").json()
    schedule(ana, snapshot, "asleep", cron=f"0 {hour} * * *")
    assert ana.post("/schedules/asleep/pause").json()["paused"] is True
    schedule(ana, snapshot, "long", notebook="wait.ipynb")
    run(ana, "long")
    until(lambda: "waiting" in log(ana, "long"), "it runs")
    portal.down()
    clock.write_text(str(3 * 86400))
    portal.up()

    assert ended(ana, "long")["reason"] == "The portal was shut down while it ran."
    missed = ended(ana, "daily")
    assert (missed["state"], missed["due_at"]) == ("succeeded", daily["next_at"]), log(ana, "daily")
    after = ana.get("/schedules/daily").json()
    assert datetime.fromisoformat(after["next_at"]) > datetime.now(UTC) + timedelta(days=3)
    assert [one["number"] for one in executions(ana, "daily")] == [1]

    clock.write_text(str(4 * 86400))
    second = ended(ana, "daily", 2)
    assert (second["state"], second["due_at"]) == ("succeeded", after["next_at"])
    assert executions(ana, "asleep") == [], "one that is paused misses nothing"
    assert json.loads(ana.get("/schedules/daily/executions/2/notebook").text)["nbformat"] == 4
