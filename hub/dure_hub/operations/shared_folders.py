"""The shared folders that a person finds, by the teams they are in when something of theirs starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.isolation import shared
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.models import TeamMember


async def arrange(settings: Settings, store: Store, person: str, home: Path | None = None) -> Sequence[str]:
    """Lay the links into this home, which is the person's own where none is named; the names of their folders."""
    place = settings.folder.users / slug(person) if home is None else home
    if not shared.concerns(settings, place):
        return ()
    teams = await store.read(lambda session: _teams(session, person))
    return await asyncio.to_thread(shared.arrange, settings, person, teams, place)


def _teams(session: Session, person: str) -> Sequence[str]:
    query = select(TeamMember.team).where(TeamMember.name == person, TeamMember.leaving.is_(False))
    return session.scalars(query).all()
