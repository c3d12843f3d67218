"""The hub's groups are brought to the teams in the store, over and over: doing it twice is doing it once.

What is recorded is carried out whenever the hub answers, so a portal that is killed in between loses nothing. A
group that the hub has and the store does not know is taken over with its people, and so is who was added to a
group at the hub; nothing there is undone silently. Who is in a team and not in its group is put there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dure.errors import LANGUAGES, DureError
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Team, TeamLead, TeamMember, TeamProject

log = logging.getLogger(__name__)
Groups = Mapping[str, frozenset[str]]


class TeamGroups:
    """Brings groups to teams. One object a portal: two of them at once could each undo what the other does."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, hub: HubApi) -> None:
        self._settings, self._store, self._clock, self._hub = settings, store, clock, hub
        self._one = asyncio.Lock()

    async def bring(self) -> list[dict[str, str]]:
        """Do what is to be done; a sentence in each language for each part that could not be done now."""
        if self._settings.groups_managed:  # the hub takes nothing from us there
            return []
        async with self._one:
            try:
                groups = await self._hub.groups()
            except DureError as error:
                return [_said(error)]
            known = await self._store.read(_known)
            if _unknown(known, groups):
                await self._store.run(lambda session: self._take_over(session, groups))
                known = await self._store.read(_known)
            missing = []
            for team, people in known.items():
                left: list[DureError] = []
                try:
                    await self._bring(team, people, groups.get(team), left)
                except DureError as error:
                    left.append(error)
                for why in left:
                    log.warning("the group %s is not yet as its team: %s", team, why)
                missing += [_said(why) for why in left]
            return missing

    async def _bring(
        self, team: str, people: dict[str, bool] | None, group: frozenset[str] | None, left: list[DureError]
    ) -> None:
        """`people` are members with whether they leave; None is a team that leaves itself.

        Who leaves comes first, and whoever the hub refuses (told in `left`) keeps back nobody else.
        """
        if people is None:
            await self._hub.delete_group(team)
            await self._store.run(partial(_forget, team=team))
            return
        if group is None:
            await self._hub.make_group(team)
        for name in sorted(name for name, leaves in people.items() if leaves):
            try:
                await self._hub.take_from_group(team, name)
            except DureError as error:
                left.append(error)
            else:
                await self._store.run(partial(_gone, team=team, name=name))
        here, known = group or frozenset(), []
        for name in sorted(name for name, leaves in people.items() if not leaves and name not in here):
            try:
                await self._hub.make_known(name)
            except DureError as error:
                left.append(error)
            else:
                known.append(name)
        if known:
            await self._hub.add_to_group(team, known)

    def _take_over(self, session: Session, groups: Groups) -> None:
        now, known = self._clock(), _known(session)
        for team, person in _unknown(known, groups):
            if person is None:
                session.add(Team(name=team, leaving=False, set_by=PORTAL, set_at=now))
            else:
                session.add(TeamMember(team=team, name=person, leaving=False))
            facts = {"code": "taken_over", "facts": {"member": person}}
            record(session, now, PORTAL, "team.take_over", f"team:{team}", facts)


def _known(session: Session) -> dict[str, dict[str, bool] | None]:
    """Of every team the people, with whether they leave; None where the team itself does."""
    found: dict[str, dict[str, bool] | None] = {
        team.name: None if team.leaving else {} for team in session.scalars(select(Team))
    }
    for row in session.scalars(select(TeamMember)):
        people = found.get(row.team)
        if people is not None:
            people[row.name] = row.leaving
    return found


def _unknown(known: Mapping[str, dict[str, bool] | None], groups: Groups) -> list[tuple[str, str | None]]:
    """Groups that are no teams (None), and people in groups who are not in the team."""
    found: list[tuple[str, str | None]] = [(team, None) for team in sorted(groups) if team not in known]
    for team, people in sorted(groups.items()):
        members = known.get(team, {})
        if members is not None:
            found += [(team, name) for name in sorted(people) if name not in members]
    return found


def _gone(session: Session, team: str, name: str) -> None:
    """They are out of the hub's group. Who was made a member again meanwhile stays one."""
    mine = (TeamMember.team == team, TeamMember.name == name, TeamMember.leaving.is_(True))
    session.execute(delete(TeamMember).where(*mine))


def _forget(session: Session, team: str) -> None:
    row = session.get(Team, team)
    if row is not None and row.leaving:  # made anew meanwhile, it stays, and its group is made again
        session.delete(row)
        for kind in (TeamMember, TeamLead, TeamProject):
            session.execute(delete(kind).where(kind.team == team))


def _said(error: DureError) -> dict[str, str]:
    return {language: error.text(language) for language in LANGUAGES}
