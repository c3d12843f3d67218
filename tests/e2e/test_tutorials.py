"""The tutorials, every cell from top to bottom, as ben runs them on a whole portal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
import pytest

import dure
from tests.e2e.portal import Portal

pytestmark = [
    pytest.mark.timeout(600),
]
TUTORIALS = Path(__file__).parents[2] / "notebooks" / "tutorials"
SCHEDULED = TUTORIALS.with_name("scheduled")


@pytest.fixture
def desk(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of ben's, and an environment as that of his server."""
    pytest.importorskip("torch", reason="needs torch (DURE_TORCH=none left it out)")
    monkeypatch.setenv("DURE_URL", portal.url)
    monkeypatch.setenv("DURE_TOKEN", portal.token("ben"))
    # The kernel of this very environment, not one that the person at this machine has installed.
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder


def run(tutorial: str, desk: Path, **parameters: Any) -> dict[str, str]:
    """Execute a tutorial; what each cell printed, by the cell's id. A cell that fails fails the test."""
    done = papermill.execute_notebook(
        str(TUTORIALS / f"{tutorial}.ipynb"),
        str(desk / f"{tutorial}.ipynb"),
        parameters=parameters,
        kernel_name="python3",
        cwd=str(desk),
        progress_bar=False,
    )
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    failed = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert failed == []
    assert all(cell.execution_count for cell in cells)
    return {
        cell.id: "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in cells
    }


@contextmanager
def served(name: str) -> Iterator[str]:
    """The name for a tutorial's endpoint, which is taken down at the end."""
    try:
        yield name
    finally:
        if name in [endpoint.name for endpoint in dure.endpoints.list()]:
            dure.endpoints.get(name).delete()


def test_a_first_model(desk: Path) -> None:
    with served("e2e-first-model") as name:
        said = run("first-model", desk, name=name, epochs=12, requests=30)
        assert "ben: e2e-first-model" in said["cell-02"]
        endpoint = dure.endpoints.get(name)
        assert endpoint.last_state == "ready"
        assert endpoint.champion.version == 2


def test_my_own_code_and_once_more_where_there_is_no_curl(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("e2e-my-own-code") as name:
        said = run("my-own-code", desk, name=name, epochs=100)
        assert dure.endpoints.get(name).last_state == "ready"
        command, _, answer = said["cell-14"].partition("\n{")
        assert '"setosa"' in answer
        assert os.environ["DURE_TOKEN"] not in said["cell-14"]
        if shutil.which("curl"):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
            assert '"setosa"' in done.stdout, done.stderr
        monkeypatch.setenv("PATH", str(desk))
        said = run("my-own-code", desk, name=name, epochs=100)
        assert '"setosa"' in said["cell-14"].partition("\n{")[2]
        endpoint = dure.endpoints.get(name)
        assert (endpoint.last_state, endpoint.champion.version) == ("ready", 2)


def test_retraining_on_schedule_serves_puts_on_trial_or_says_why_not(desk: Path) -> None:
    file = SCHEDULED / "retrain-digits.ipynb"
    with served("e2e-retrained") as name:
        schedule = dure.schedules.create(file, "0 6 1 1 *", parameters={"name": name, "minimum_accuracy": 0.5})

        def retrain(**parameters: Any) -> str:
            """Run it as the clock would, with a token of its own; its last words."""
            done = json.loads(schedule.run_now(**parameters).wait(timeout=400).notebook())
            return "".join(done["cells"][-1]["outputs"][-1]["text"]).splitlines()[-1]

        first = f"Started: version 1 is served as {name}, the first one there."
        assert retrain(epochs=2) == first
        assert "is not better than" in retrain(epochs=2)
        trial = f"Started: version 3 is on trial with 10 % of the requests of {name}."
        assert retrain(epochs=20) == trial
        status = dure.endpoints.get(name).status
        assert (status.champion and status.champion.version, status.canary and status.canary.version) == (1, 3)
        assert "version 3 is on trial already; promote it or roll it back first" in retrain()
        assert len(dure.models.versions(name)) == 3
        schedule.delete()
