"""The executor in a process of its own, with the real papermill and real kernels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

nbformat: Any = import_module("nbformat")  # its functions have no types
new_code_cell, new_markdown_cell = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
new_notebook = nbformat.v4.new_notebook
MARK = "DURE_TEST_EXECUTION"


@dataclass
class Place:
    """A folder as the backend prepares it. Its name has what papermill takes for a format and an address."""

    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def outputs(self) -> Path:
        return self.root / "s3:" / "{x}"

    @property
    def result(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.outputs / "result.json").read_text())
        return loaded

    @property
    def executed(self) -> Any:
        return nbformat.read(self.outputs / "executed.ipynb", as_version=4)

    def printed(self) -> str:
        """What the cells wrote, as the executed notebook keeps it."""
        outputs = [output for cell in self.executed.cells for output in cell.get("outputs", ())]
        return "".join(output.text for output in outputs if output.output_type == "stream")

    def start(self, *cells: str, parameters: dict[str, Any] | None = None, name: str = "a.ipynb") -> Any:
        """Begin to run a notebook of these cells; the first one is a heading, the second declares parameters."""
        declared = new_code_cell("x: int = 1\nname = 'nobody'")
        declared.metadata.tags = ["parameters"]
        notebook = new_notebook(cells=[new_markdown_cell("# A title"), declared, *map(new_code_cell, cells)])
        # As it comes from another machine: a kernel that nobody has here.
        notebook.metadata.kernelspec = {"name": "my-conda", "display_name": "mine", "language": "R"}
        nbformat.write(notebook, self.code / name)
        return self.begin(name, parameters)

    def begin(self, notebook: str, parameters: dict[str, Any] | None = None, **more: str) -> Any:
        """Begin to run a notebook that is there."""
        asked = {"notebook": notebook, "parameters": parameters or {}, "outputs": str(self.outputs)}
        (self.root / "execution.json").write_text(json.dumps(asked))
        (self.root / "token").write_text("token-of-the-execution\n")
        environment = {
            **os.environ,
            "HOME": str(self.root),
            "DURE_EXECUTION_FILE": str(self.root / "execution.json"),
            "DURE_TOKEN_FILE": str(self.root / "token"),
            MARK: str(self.root),
            **more,
        }
        with (self.root / "log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dure.execution"], cwd=self.code, env=environment, stdout=log, stderr=log
            )

    def run(self, *cells: str, parameters: dict[str, Any] | None = None) -> int:
        """Run a notebook of these cells to its end; the exit code."""
        return self.ended(self.start(*cells, parameters=parameters))

    def ended(self, process: Any, timeout: float = 120) -> int:
        """The exit code, once there is one."""
        try:
            code: int = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"it did not end within {timeout} s:\n{self.log}")
        return code

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def until_logged(self, text: str, process: Any) -> None:
        """Wait until the log says this."""
        deadline = time.monotonic() + 60
        while text not in self.log:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                process.wait()
                pytest.fail(f"{text!r} was not logged (exit code {process.returncode}):\n{self.log}")
            time.sleep(0.05)

    def alive(self) -> list[int]:
        """Processes that carry this test's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.root):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A fresh folder."""
    made = Place(tmp_path)
    made.code.mkdir()
    return made


def test_a_notebook_runs_with_its_parameters_in_its_own_folder_and_with_its_token(place: Place) -> None:
    (place.code / "helper.py").write_text("answer = 42\n")
    code = place.run(
        "import os, sys, helper\nprint(x, name, helper.answer, sys.executable)",
        "print(os.environ['MLFLOW_TRACKING_TOKEN'] == open(os.environ['DURE_TOKEN_FILE']).read().strip())",
        "print('where the records lie:', os.environ.get('DURE_EXECUTION_FILE'))",
        parameters={"x": 7, "name": 'so"so\n'},
    )
    assert code == 0, place.log
    assert place.result == {"state": "succeeded", "cell": None, "source": None, "error": None, "message": None}
    assert f'7 so"so\n 42 {sys.executable}\n' in place.printed()
    assert "True" in place.printed()
    assert "where the records lie: None" in place.printed()
    assert "[3/5] import os, sys, helper" in place.log
    assert "[parameters] # Parameters" in place.log
    assert "token-of-the-execution" not in place.log + (place.outputs / "executed.ipynb").read_text()
    assert place.alive() == []


def test_a_failing_cell_is_named_as_in_the_owners_own_notebook(place: Place) -> None:
    cells = (
        "print('before')",
        "\n  # the cause\nraise ValueError('\x1b[31mred\x1b[0m <b>' + 'x' * 9000)",
        "print('after')",
    )
    assert place.run(*cells, parameters={"x": 2}) == 1, place.log
    result = place.result
    assert (result["state"], result["cell"], result["source"]) == ("failed", 4, "# the cause")
    assert result["error"] == "ValueError"
    assert result["message"].startswith("red <b>xxx")
    assert len(result["message"]) == 2000
    assert place.printed() == "before\n"
    assert "Cell 4: ValueError: red <b>xxx" in place.log
    # The same without an inserted cell, and once more on what was executed, with papermill's marks in it.
    assert place.run(*cells) == 1
    assert place.result["cell"] == 4
    (place.outputs / "executed.ipynb").replace(place.code / "again.ipynb")
    assert place.ended(place.begin("again.ipynb", {"x": 3})) == 1
    marked = nbformat.read(place.code / "again.ipynb", as_version=4).cells
    assert place.result["cell"] == 6
    assert "# the cause" in marked[6 - 1].source


def test_a_notebook_may_end_itself(place: Place) -> None:
    assert place.run("import sys\nsys.exit()", "print('after')") == 0, place.log
    assert place.result["state"] == "succeeded"
    assert "after" not in place.printed()


@pytest.mark.parametrize("text", ["", "no json", "{}", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_notebook_that_cannot_be_read_says_so(place: Place, text: str) -> None:
    (place.code / "bad.ipynb").write_text(text)
    assert place.ended(place.begin("bad.ipynb")) == 1
    assert place.result["state"] == "failed"
    assert place.result["cell"] is None
    assert place.result["error"]
    assert not (place.outputs / "executed.ipynb").exists()


def test_a_kernel_that_dies_is_told_with_its_cell(place: Place) -> None:
    assert place.run("print('before', flush=True)", "import os\nos.kill(os.getpid(), 9)") == 1
    assert (place.result["cell"], place.result["error"]) == (4, "DeadKernelError")
    assert "process ended while this cell ran" in place.result["message"]
    assert "before" in place.printed()
    assert place.alive() == []


def test_a_kernel_of_the_same_name_elsewhere_is_not_used(place: Place) -> None:
    planted = place.root / "jupyter" / "kernels" / "python3"
    planted.mkdir(parents=True)
    (planted / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "x", "language": "python"}')
    notebook = new_notebook(cells=[new_code_cell("print('ours')")])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(notebook, place.code / "a.ipynb")
    process = place.begin("a.ipynb", JUPYTER_PATH=str(place.root / "jupyter"))
    assert place.ended(process) == 0, place.log
    assert place.printed() == "ours\n"


def test_asked_to_stop_the_cell_is_interrupted_and_what_has_run_is_kept(place: Place) -> None:
    process = place.start("print('done before')", "import time\nprint('now', flush=True)\ntime.sleep(600)")
    place.until_logged("now", process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert place.ended(process, 30) == 1
    assert time.monotonic() - began < 5
    assert (place.result["state"], place.result["error"], place.result["cell"]) == ("failed", "Stopped", 4)
    assert "done before" in place.printed()
    assert place.alive() == []


def test_a_cell_that_will_not_be_interrupted_is_killed(place: Place) -> None:
    stubborn = (
        "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\nprint('now', flush=True)\n"
        "while True:\n    try:\n        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n        print('no', flush=True)"
    )
    process = place.start("print('done before')", stubborn)
    place.until_logged("now", process)
    process.send_signal(signal.SIGTERM)
    place.until_logged("no\n", process)
    assert place.ended(process, 30) == 1
    assert (place.result["state"], place.result["error"], place.result["cell"]) == ("failed", "Stopped", 4)
    assert "done before" in place.printed()
    assert place.alive() == []


def test_asked_to_stop_before_the_first_cell(place: Place) -> None:
    process = place.start("print('never')")
    deadline = time.monotonic() + 60
    while not any("ipykernel" in " ".join(psutil.Process(pid).cmdline()) for pid in place.alive()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert place.ended(process, 30) == 1
    assert (place.result["cell"], place.result["error"]) == (None, "Stopped")
    deadline = time.monotonic() + 10  # a kernel that is killed while it loads takes its time to be gone
    while place.alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_at_once_do_not_clash(tmp_path: Path) -> None:
    places = [Place(tmp_path / str(number)) for number in range(2)]
    for place in places:
        place.code.mkdir(parents=True)
    running = [place.start("print(x)", parameters={"x": n}) for n, place in enumerate(places)]
    for number, (place, process) in enumerate(zip(places, running, strict=True)):
        assert place.ended(process) == 0, place.log
        assert place.printed() == f"{number}\n"


def test_what_an_earlier_run_put_in_is_taken_out(place: Place) -> None:
    declared, old = new_code_cell("x: int = 1"), new_code_cell("x = 99")
    declared.metadata.tags, old.metadata.tags = ["parameters"], ["injected-parameters"]
    cells = [
        new_markdown_cell("# A title"),
        old,
        declared,
        new_code_cell("print('x is', x)"),
        new_code_cell("1 / 0"),
    ]
    nbformat.write(new_notebook(cells=cells), place.code / "a.ipynb")
    assert place.ended(place.begin("a.ipynb", {"x": 7})) == 1, place.log
    assert "x is 7" in place.printed()
    sources = [cell.source for cell in place.executed.cells]
    assert not any("99" in source for source in sources)
    assert place.result["cell"] == 5, "counted in the owner's own notebook"
    assert "x = 99" in (place.code / "a.ipynb").read_text(), "which stays as it is"

    assert place.ended(place.begin("a.ipynb")) == 1, place.log
    assert "x is 1" in place.printed()
