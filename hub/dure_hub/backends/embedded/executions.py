"""Scheduled notebooks as processes of this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from dure_hub.backends.base import ExecutionBackend, ExecutionWork, Feature, Handle, Kind
from dure_hub.backends.embedded import gaps
from dure_hub.backends.embedded.runner import Plan
from dure_hub.backends.embedded.runs import EmbeddedRuns, environment_of, places_of
from dure_hub.settings import Settings


class EmbeddedExecutions(EmbeddedRuns, ExecutionBackend):
    """One process a notebook, its kernel below it. What to do is in the file that DURE_EXECUTION_FILE names."""

    kind: ClassVar[Kind] = Kind.EXECUTION

    def __init__(self, settings: Settings, program: str = "dure.execution") -> None:
        super().__init__(settings)
        self.program = program
        self.unsupported = {**self.unsupported, **gaps.without_papermill()}

    def start(self, work: ExecutionWork) -> AsyncIterator[Handle]:
        """As the interface says."""
        self.refuse(Feature.SCHEDULES)
        file = self.runner.shown(work.lease) / "execution.json"
        environment = {**environment_of(work), "DURE_EXECUTION_FILE": str(file)}
        if work.token_file is not None:
            environment["DURE_TOKEN_FILE"] = str(work.token_file)
        return self._run(
            Plan(
                lease=work.lease,
                owner=work.owner,
                # What lies in the working folder is the notebook's to import, and not this program's.
                command=[sys.executable, "-P", "-m", self.program],
                cwd=work.folder,
                environment=environment,
                files={"execution.json": json.dumps(make_execution(work), indent=1).encode()},
                own=places_of(work.folder, work.outputs, work.token_file, environment=work.environment),
                cores=work.cores,
                memory_mb=work.memory_mb,
                shared=work.shared,
            )
        )


def make_execution(work: ExecutionWork) -> dict[str, Any]:
    """What the program reads."""
    return {
        "notebook": work.notebook,
        "parameters": dict(work.parameters),
        "outputs": str(work.outputs),
        "python": work.python,
    }
