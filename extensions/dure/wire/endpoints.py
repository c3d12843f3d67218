"""Serving: a name, a champion, perhaps a canary."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from dure.wire.base import Answer, Ask, Name, TeamName, Ulid


class DeployRequest(Ask):
    """Serve `version` of `model` under `name`; the same `id` sent twice is one request.

    `team` and `project` are charged for it; null is the team of the server that asks, else the only one of who
    asks. Its model servers wait for a slice before all but other inference, and with `urgent` before that too.
    """

    id: Ulid
    name: Name
    model: Name
    version: int = Field(ge=1)
    profile: str = Field(default="cpu", max_length=60)
    team: TeamName | None = None
    project: Name | None = None
    urgent: bool = False


class CanaryRequest(Ask):
    """Send `percent` of the requests to `version` beside the champion."""

    id: Ulid
    version: int = Field(ge=1)
    percent: int = Field(default=10, ge=0, le=100)


class Replica(Answer):
    """One served version, and what Envoy counted of it; null while unknown.

    `requests`, `errors` and latencies (milliseconds) count since it took this role, or since Envoy started.
    """

    version: int
    role: str
    phase: str
    percent: int
    reason: str | None = None
    requests: int | None = None
    errors: int | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


class Endpoint(Answer):
    """A served name. `state` is starting, ready, degraded, failed or stopped; `url` a path below the portal's
    address.
    """

    name: str
    owner: str
    model: str
    profile: str
    state: str
    url: str
    champion: Replica | None = None
    canary: Replica | None = None
    created_at: datetime
    reason: str | None = None
