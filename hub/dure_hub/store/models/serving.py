"""Endpoints, replicas and rollouts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base


class Endpoint(Base):
    """A served name. `wanted`: serve or stop."""

    __tablename__ = "endpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    owner: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    profile: Mapped[str]
    team: Mapped[str | None]
    project: Mapped[str | None]
    queue_class: Mapped[int] = mapped_column(default=1)
    wanted: Mapped[str] = mapped_column(default="serve")
    state: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Replica(Base):
    """One model server of an endpoint. `role`: champion, canary, retired. `phase`: waiting … ready … gone."""

    __tablename__ = "replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    version: Mapped[int]
    role: Mapped[str]
    percent: Mapped[int]
    phase: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str | None]
    restarts: Mapped[int] = mapped_column(default=0)
    ticket_id: Mapped[str | None]
    lease_id: Mapped[str | None]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Rollout(Base):
    """One champion-to-canary story. `state`: running, promoted, rolled_back."""

    __tablename__ = "rollouts"

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    from_version: Mapped[int]
    to_version: Mapped[int]
    percent: Mapped[int]
    state: Mapped[str]
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
