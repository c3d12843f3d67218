"""One rank of a training job: `torchrun … -m dure.worker`, with DURE_JOB_FILE naming what to run.

A function gets the parameters as keyword arguments (and the context as `ctx` if it names that); a file gets them
as `--name value` arguments, as if typed. Tracebacks and exit codes are the code's own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import inspect
import io
import json
import os
import runpy
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dure import injob, own_python
from dure.source import CONTEXT


def main() -> None:
    """Run this rank to its end."""
    job = json.loads(Path(os.environ["DURE_JOB_FILE"]).read_text())
    current = injob.context()
    injob.watch_for_stop(current)
    if current.is_main:
        announce(current)
        if current.tracker is not None:
            current.tracker.parameters(current.parameters)
    entry, _, function = str(job["entry"]).partition(":")
    file = Path(entry).resolve()
    # As `python train.py` does: what lies beside the file can be imported.
    sys.path.insert(0, str(file.parent))
    try:
        if function:
            call(file, function, current)
        else:
            sys.argv = [entry, *arguments(current.parameters)]
            runpy.run_path(str(file), run_name="__main__")
    finally:
        current.close()


def announce(current: injob.Context) -> None:
    """Say where this job computes and with how many ranks."""
    where = "CPU"
    if current.backend == "nccl":
        import torch

        where = torch.cuda.get_device_name(current.local_rank)
    ranks = f"{current.world_size} processes ({current.backend})" if current.world_size > 1 else "1 process"
    own = own_python.note_packages(Path(sys.prefix), current.outputs)
    with_own = f", with {own} packages of your own" if own else ""
    sys.stdout.write(f"Training on {where}, {ranks}{with_own}\n")
    sys.stdout.flush()


def call(file: Path, function: str, current: injob.Context) -> None:
    """Import the file and call its function."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    called = getattr(module, function)
    values: dict[str, Any] = dict(current.parameters)
    if CONTEXT in inspect.signature(called).parameters:
        values[CONTEXT] = current
    called(**values)


def arguments(parameters: Mapping[str, Any]) -> list[str]:
    """Parameters as words of a command line: `--name value`; one without a value is left out."""
    words: list[str] = []
    for name, value in parameters.items():
        if value is not None:
            words += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    return words


def leave() -> None:
    """End this process well, files that were left open included, but without taking down what still runs in it.

    Threads of torch's that live on (of gloo, of DistributedDataParallel) and ask for the interpreter while that
    goes down are ended by CPython through frames of C++, which aborts the process: seldom, but then a job that had
    done all its work would have failed with SIGABRT.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    gc.collect()
    for file in [one for one in gc.get_objects() if isinstance(one, io.IOBase)]:
        with contextlib.suppress(Exception):  # as the interpreter does: nobody is left to tell
            if not file.closed and file.writable():
                file.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:  # a file may end with `sys.exit(main())`
        if end.code not in (None, 0):
            raise
    if injob.context().world_size > 1:
        leave()
