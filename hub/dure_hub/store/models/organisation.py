"""Teams with their members, leads and projects; and what the portal has yet to carry out outside this database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from dure_hub.store.base import Base, JsonDict


class Team(Base):
    """A team: a group of the hub's is brought to it. One that is `leaving` is none any more, and its group is yet
    to be deleted.
    """

    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(primary_key=True)
    leaving: Mapped[bool] = mapped_column(default=False)
    set_by: Mapped[str]
    set_at: Mapped[datetime]


class TeamMember(Base):
    """Somebody in a team; or, while `leaving`, somebody who is yet to be taken out of the hub's group."""

    __tablename__ = "team_members"

    team: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True, index=True)
    leaving: Mapped[bool] = mapped_column(default=False)


class TeamLead(Base):
    """Who leads a team, as long as they are in it."""

    __tablename__ = "team_leads"

    team: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True, index=True)


class TeamProject(Base):
    """A project of a team."""

    __tablename__ = "team_projects"

    team: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)


class Errand(Base):
    """What is decided and yet to be done outside this database: an `account` to be as `value` says, or a `file` of
    the data folder to be written. The row goes when it is done; doing it twice is doing it once.
    """

    __tablename__ = "errands"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[JsonDict]
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
