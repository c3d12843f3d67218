"""Small notebooks, and a backend that runs them without papermill."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Handle
from dure_hub.backends.embedded import EmbeddedExecutions
from dure_hub.backends.embedded.runner import Plan

STUB = Path(__file__).with_name("stub_notebook.py")


def notebook(*cells: str, parameters: str | None = None) -> str:
    """A notebook of these code cells, after one tagged `parameters` if there is one."""
    sources: list[tuple[list[str], str]] = [([], cell) for cell in cells]
    if parameters is not None:
        sources.insert(0, (["parameters"], parameters))
    made: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": tags},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, (tags, source) in enumerate(sources)
    ]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": about, "cells": made})


class QuickExecutions(EmbeddedExecutions):
    """The real backend, with the stub instead of `dure.execution`."""

    def _run(self, plan: Plan) -> AsyncIterator[Handle]:
        return super()._run(replace(plan, command=[sys.executable, str(STUB)]))
