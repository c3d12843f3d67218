"""Registered models. The registry is MLflow's; these are its rows with our lineage beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dure.wire.base import Answer, Ask, Name, TagName, Words


def _finite(metrics: Any) -> Any:
    if not isinstance(metrics, Mapping):
        return metrics
    return {
        name: value
        for name, value in metrics.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


Metrics = Annotated[dict[str, float], BeforeValidator(_finite)]
"""Last values by name. JSON has no word for what is not finite: it is left out, as is an older portal's null."""


class RegisterRequest(Ask):
    """Register what a finished job of yours saved as a new version of `name`."""

    name: Name
    job: Name
    tags: dict[TagName, Words] = Field(default={}, max_length=50)


class ModelVersion(Answer):
    """A version: lineage tags (`dure.job`, `dure.snapshot`, `dure.git_commit`, …), metrics of its run, aliases."""

    name: str
    version: int
    owner: str | None = None
    run_id: str | None = None
    source: str | None = None
    aliases: list[str] = []
    tags: dict[str, str] = {}
    metrics: Metrics = {}
    created_at: datetime | None = None
