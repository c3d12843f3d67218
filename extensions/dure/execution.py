"""One execution of a scheduled notebook: `python -m dure.execution`, with DURE_EXECUTION_FILE naming what to run.

The working folder is that of the unpacked snapshot. What is left in `outputs`: `executed.ipynb`, whole after each
cell, and at the end `result.json` with where and why it stopped. Exit code 0 is a notebook that ran to its end.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from dure import own_python
from dure.display import write

EXECUTED, RESULT = "executed.ipynb", "result.json"
INJECTED = "injected-parameters"
"""papermill's tag for the cell it puts in."""
GRACE_S = 5
"""How long a cell that was interrupted may take to end before its kernel is killed."""
MESSAGE_LIMIT, SOURCE_LIMIT = 2000, 200
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
KERNEL_DIED = "The kernel's process ended while this cell ran. Too little memory is the usual reason."

log = logging.getLogger("dure.execution")


class Stopped(SystemExit):
    """Raised where a signal ends the execution in the middle; no `except Exception` on its way catches it."""


class Run:
    """One notebook on its way: what the hooks of papermill and the signals have to know of each other."""

    def __init__(
        self, notebook: str, parameters: Mapping[str, Any], outputs: Path, python: str | None = None
    ) -> None:
        self.notebook, self.parameters, self.outputs = notebook, dict(parameters), outputs
        self.python = python or sys.executable
        self.stopping = False
        self.manager: Any = None
        self.numbers: list[int | None] = []
        self.total = 0
        self.at: tuple[int | None, str] | None = None

    def execute(self) -> dict[str, Any]:
        """Run the notebook; what `result.json` says of it."""
        from papermill.exceptions import PapermillExecutionError

        try:
            self._papermill()
        except PapermillExecutionError as error:
            self.at = (self._number(error.cell_index), error.source)
            problem, message = str(error.ename), str(error.evalue)
        except Stopped:
            self.signal_kernel(signal.SIGKILL)  # one that was just starting is nobody's yet
            problem, message = "", ""
        except Exception as error:
            log.exception("The notebook could not be run to its end.")
            problem, message = type(error).__name__, str(error)
            message = KERNEL_DIED if problem == "DeadKernelError" else message
        else:
            return {"state": "succeeded", "cell": None, "source": None, "error": None, "message": None}
        finally:
            signal.alarm(0)
        if self.stopping:
            problem, message = "Stopped", "It was asked to stop before its end."
        number, source = self.at or (None, None)
        return {
            "state": "failed",
            "cell": number,
            "source": None if source is None else first_line(source),
            "error": problem,
            "message": plain(message)[:MESSAGE_LIMIT],
        }

    def _papermill(self) -> None:
        import papermill

        source, target = inside(self.notebook), inside(os.path.relpath(self.outputs / EXECUTED))
        self._count_cells(source)
        papermill.iorw.papermill_io.register(source, Fresh())
        papermill.iorw.papermill_io.register(target, Whole())
        with tempfile.TemporaryDirectory(prefix="dure-") as sockets:
            papermill.execute_notebook(
                # Both paths are formats to papermill.
                doubled(source),
                doubled(target),
                parameters=self.parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stdout_file=Plain(),
                stderr_file=Plain(),
                request_save_on_cell_execute=True,
                kernel_manager_class=kernel_manager(self, Path(sockets)),
                on_cell_start=self.cell_starts,
            )

    def _count_cells(self, path: str) -> None:
        """Learn which cell of the owner's file each index of papermill's means: it inserts one and drops some."""
        from papermill.execute import ERROR_MARKER_TAG
        from papermill.iorw import load_notebook_node

        tags = [{*cell.metadata.get("tags", [])} for cell in load_notebook_node(path).cells]
        self.total = len(tags)
        numbers: list[int | None] = [*range(1, self.total + 1)]
        if self.parameters:
            declared = (n for n, of in enumerate(tags, 1) if "parameters" in of and INJECTED not in of)
            numbers.insert(next(declared, 0), None)
        drop = {n for n, of in enumerate(tags, 1) if of & {ERROR_MARKER_TAG, INJECTED}}
        self.numbers = [number for number in numbers if number not in drop]

    def _number(self, index: int) -> int | None:
        return self.numbers[index] if index < len(self.numbers) else None

    def cell_starts(self, cell: Any, cell_index: int) -> None:
        """papermill's hook: a line of progress. A request to stop that came before it ends the run here."""
        if self.stopping:
            raise Stopped(128 + signal.SIGTERM)
        if cell.cell_type != "code":
            return
        number = self._number(cell_index)
        self.at = (number, cell.source)
        place = "parameters" if number is None else f"{number}/{self.total}"
        write(f"[{place}] {first_line(cell.source)}\n")

    def asked_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGTERM: interrupt the cell as a person would, so it ends and is saved; else its kernel is killed."""
        if self.stopping:
            return
        self.stopping = True
        signal.alarm(GRACE_S)
        if self.at is None or not self.signal_kernel(signal.SIGINT):
            raise Stopped(128 + signal.SIGTERM)

    def out_of_time(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGALRM: the interrupted cell did not end."""
        self.signal_kernel(signal.SIGKILL)
        raise Stopped(128 + signal.SIGTERM)

    def signal_kernel(self, number: int) -> bool:
        """Whether there was a kernel to signal. It leads a process group, with what its cells have started."""
        group = getattr(getattr(self.manager, "provisioner", None), "pgid", None)
        if not group:
            return False
        with suppress(ProcessLookupError):
            os.killpg(group, number)
            return True
        return False


class Whole:
    """papermill's way to write the executed notebook: whole or not at all, since a page may read it any time."""

    def read(self, path: str) -> str:
        """The text of it."""
        return Path(path).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        """The names in a folder."""
        return [entry.name for entry in Path(path).iterdir()]

    def write(self, text: str, path: str) -> None:
        """Write beside it and take its place."""
        write_whole(Path(path), text)

    def pretty_path(self, path: str) -> str:
        """The path as a log shows it."""
        return path


class Fresh(Whole):
    """papermill's way to read the notebook: without what an earlier run put in, which would take our place."""

    def read(self, path: str) -> str:
        """The text of it."""
        text = super().read(path)
        notebook = json.loads(text)
        cells = notebook.get("cells", [])
        kept = [cell for cell in cells if INJECTED not in cell.get("metadata", {}).get("tags", [])]
        return text if len(kept) == len(cells) else json.dumps({**notebook, "cells": kept})


class Plain:
    """Where papermill sends what cells print: our own output, as plain text."""

    def write(self, text: str) -> None:
        """Write at once."""
        write(plain(text))

    def flush(self) -> None:
        """Nothing is held back."""


def kernel_manager(run: Run, sockets: Path) -> type[Any]:
    """A manager that starts the kernel with the run's Python, whatever kernels are installed on this machine.

    Kernel and executor speak by sockets in a folder of their own: with ports, two executions that start at once
    could pick the same ones.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    command = [run.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(argv=command, display_name="Python 3", language="python", env=found_here(run.python))

    class OurKernel(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            file = str(sockets / "kernel.json")
            super().__init__(**{**options, "transport": "ipc", "connection_file": file})
            run.manager = self

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return OurKernel


def found_here(python: str) -> dict[str, str]:
    """Where a kernel of another Python finds what packages have beside their code here, such as templates."""
    if python == sys.executable:
        return {}
    places = (os.environ.get("JUPYTER_PATH", ""), str(Path(sys.prefix) / "share" / "jupyter"))
    return {"JUPYTER_PATH": os.pathsep.join(one for one in places if one)}


def plain(text: str) -> str:
    """Text without the sequences that colour a terminal."""
    return ANSI.sub("", text)


def first_line(source: str) -> str:
    """The first line of a cell that says something."""
    lines = (line.strip() for line in source.splitlines())
    return next((line for line in lines if line), "")[:SOURCE_LIMIT]


def inside(path: str) -> str:
    """A path that no handler of papermill takes for an address (`s3://…` is a fine name for a folder)."""
    return path if path.startswith((".", "/")) else f"./{path}"


def doubled(path: str) -> str:
    """A path as a format that gives it."""
    return path.replace("{", "{{").replace("}", "}}")


def write_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half of."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    unfinished.replace(path)


def hand_over_token() -> None:
    """The kernel gets the execution's token as MLflow wants it; the SDK reads the file by itself."""
    if file := os.environ.get("DURE_TOKEN_FILE"):
        os.environ["MLFLOW_TRACKING_TOKEN"] = Path(file).read_text().strip()


def main() -> int:
    """Run the notebook that DURE_EXECUTION_FILE names; the exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    # `-m` puts the working folder first: a `json.py` of the owner's is for the notebook and not for us.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    # Beside that file the portal keeps what it knows of this run, which is not for the notebook's kernel.
    asked = json.loads(Path(os.environ.pop("DURE_EXECUTION_FILE")).read_text())
    outputs = Path(asked["outputs"]).resolve()
    outputs.mkdir(parents=True, exist_ok=True)
    if python := asked.get("python"):
        own_python.note_packages(Path(python).parents[1], outputs)
    run = Run(asked["notebook"], asked.get("parameters") or {}, outputs, asked.get("python"))
    hand_over_token()
    signal.signal(signal.SIGALRM, run.out_of_time)
    signal.signal(signal.SIGTERM, run.asked_to_stop)
    result = run.execute()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # there is only a file left to write
    write_whole(outputs / RESULT, json.dumps(result, ensure_ascii=False))
    if result["state"] == "succeeded":
        write("Done.\n")
        return 0
    place = "" if result["cell"] is None else f"Cell {result['cell']}: "
    write(f"{place}{result['error']}: {result['message']}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
