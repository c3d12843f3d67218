"""Scheduled notebooks: what the program finds, and the real one under the real backend."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import ExecutionWork, Kind, Phase, Reason
from dure_hub.backends.embedded import EmbeddedExecutions
from tests.contract.backends.kit import EmbeddedPlace, Place, is_alive, until
from tests.support.notebooks import notebook

REPORT = """
import json, os
from pathlib import Path
shown = {name: os.environ.get(name) for name in ("DURE_EXECUTION_FILE", "DURE_TOKEN_FILE", "CUDA_VISIBLE_DEVICES")}
told = json.loads(Path(os.environ["DURE_EXECUTION_FILE"]).read_text())
print(json.dumps({**shown, "cwd": os.getcwd(), "told": told}), flush=True)
"""


async def test_the_program_finds_notebook_parameters_token_and_devices(embedded: EmbeddedPlace) -> None:
    (embedded.code / "report.py").write_text(REPORT)
    folder = embedded.code / "snapshot"
    folder.mkdir()
    (folder / "json.py").write_text("raise ImportError('the working folder is not the program\\'s')")
    given: dict[str, Any] = {"epochs": 3, "name": "두레"}
    work = embedded.work(
        Kind.EXECUTION,
        folder=folder,
        notebook="in/work.ipynb",
        parameters=given,
        outputs=embedded.code / "outputs",
        token_file=embedded.code / "token",
        devices=("GPU-1f",),
        python="/home/ann/python",
    )
    assert isinstance(work, ExecutionWork)
    handle = [one async for one in EmbeddedExecutions(embedded.settings, "report").start(work)][-1]
    seen = await embedded.ended(handle)
    log = (await embedded.executions().log(handle, 0, 1 << 20)).text
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
    said = json.loads(log)
    assert said["told"] == {
        "notebook": "in/work.ipynb",
        "parameters": given,
        "outputs": str(embedded.code / "outputs"),
        "python": "/home/ann/python",
    }
    assert (said["cwd"], said["CUDA_VISIBLE_DEVICES"]) == (str(folder), "GPU-1f")
    assert said["DURE_TOKEN_FILE"] == str(embedded.code / "token")
    assert said["DURE_EXECUTION_FILE"] == str(embedded.run_folder(handle) / "execution.json")
    assert (embedded.run_folder(handle) / "execution.json").stat().st_mode & 0o777 == 0o600


async def test_stopping_one_ends_its_children_in_sessions_of_their_own(place: Place) -> None:
    handle = await place.start(place.work(Kind.EXECUTION, "family"))
    child = (await place.facts(handle))["grandchild"]
    assert is_alive(child)
    await place.executions().stop(handle, grace_s=2)
    assert not is_alive(child)


class RealProgram(EmbeddedPlace):
    def executions(self) -> EmbeddedExecutions:
        return EmbeddedExecutions(self.settings)

    def notebook(self, *cells: str, **more: Any) -> Any:
        """Work of the real program on this notebook."""
        outputs = self.code.parent / "outputs"
        outputs.mkdir()
        (self.code / "work.ipynb").write_text(notebook(*cells, **more.pop("cell", {})))
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.code.parent)}
        return self.work(Kind.EXECUTION, outputs=outputs, environment=environment, **more)


real = pytest.mark.skipif(
    importlib.util.find_spec("papermill") is None, reason="needs papermill (it comes with the extra `hub`)"
)


@real
async def test_a_notebook_runs_with_its_parameters_and_is_kept(tmp_path: Path) -> None:
    place = RealProgram(tmp_path)
    work = place.notebook(
        "print('epochs', epochs, name)", cell={"parameters": "epochs = 3\nname = 'x'"}, parameters={"name": 'a"\n'}
    )
    handle = await place.start(work)
    seen = await place.ended(handle)
    log = (await place.executions().log(handle, 0, 1 << 20)).text
    assert (seen.exit_code, seen.reason) == (0, Reason.FINISHED), log
    assert 'epochs 3 a"\n' in log
    executed = json.loads((work.outputs / "executed.ipynb").read_text())
    assert "parameters" in str(executed["cells"][1]["metadata"]["tags"])
    assert json.loads((work.outputs / "result.json").read_text())["state"] == "succeeded"


@real
async def test_a_notebook_that_will_not_end_is_ended_with_its_kernel_and_its_children(tmp_path: Path) -> None:
    place = RealProgram(tmp_path)
    child = "import subprocess\nprint('child', subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\n"
    work = place.notebook(child, deaf + "while True: time.sleep(1)")
    handle = await place.start(work)

    async def says() -> str | None:
        log = (await place.executions().log(handle, 0, 1 << 20)).text
        return log if "deaf\n" in log else None

    log = await until(says, lambda: place.report(handle))
    pid = int(log.split("child ")[1].split()[0])
    assert is_alive(pid)
    await place.executions().stop(handle, grace_s=1)
    assert (await place.executions().poll(handle)).phase is Phase.EXITED
    assert not is_alive(pid)
    assert place.marked() == {}
    executed = json.loads((work.outputs / "executed.ipynb").read_text())
    assert "child" in str(executed["cells"][0]["outputs"]), "what was done is kept"
