"""Registered models. The registry is MLflow's; these are its rows with our lineage beside them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from dure.wire.base import Answer, Ask, Name, TagName, Words


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
    metrics: dict[str, float] = {}
    created_at: datetime | None = None
