"""Who asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from dure.errors import DureError, NotAllowed, Text
from dure.wire.money import in_team

USE = "custom:dure:use"
ADMIN = "custom:dure:admin"
METRICS = "custom:dure:metrics"
"""What a token of a monitoring system may: read the metrics, and nothing else. Administrators may too."""


class NameYourTeam(DureError):
    """Several teams could pay, and none was named."""

    code, status = "name_your_team", 422
    message: ClassVar[Text] = {
        "en": "You are in several teams ({teams}), and it was not said which of them pays for this.",
        "ko": "여러 팀({teams})에 속해 있는데 어느 팀이 비용을 내는지 정해지지 않았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name one of them as `team`; the form of a new server lets you choose. Nothing was started.",
        "ko": "그중 하나를 `team`으로 지정하세요. 새 서버 화면에서는 고를 수 있습니다. 시작된 것은 없습니다.",
    }


class NotYourTeam(DureError):
    """Somebody else's team would pay."""

    code, status = "not_your_team", 403
    message: ClassVar[Text] = {
        "en": "{team} is none of your teams, which are: {teams}.",
        "ko": "{team}은(는) 내 팀이 아닙니다. 내 팀: {teams}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name one of your teams; an administrator adds you to a team. Nothing was started.",
        "ko": "내 팀 중 하나를 쓰세요. 팀 추가는 관리자가 합니다. 시작된 것은 없습니다.",
    }


@dataclass(frozen=True)
class Person:
    """The person a request speaks for. `scopes` are the hub's own words, `teams` the hub's groups.

    `team` is the one that pays for the server or work whose token was shown: what is started from there is its
    too. `leads` are the teams they lead: what is charged to these they see, and may end.
    """

    name: str
    admin: bool = False
    scopes: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    team: str | None = None
    leads: frozenset[str] = frozenset()

    def in_team(self, team: str) -> bool:
        """Whether they may have this team pay; an administrator may have any."""
        return self.admin or team in self.teams

    def sees_budget(self, kind: str, name: str) -> bool:
        """Whether a budget's figures are for them: those of their own teams, and of the projects in these."""
        parts = in_team(name) if kind == "project" else (name, "")
        return self.admin if parts is None else self.in_team(parts[0])

    def need_admin(self) -> None:
        """Refuse who is not an administrator."""
        if not self.admin:
            raise NotAllowed(user=self.name, scope=ADMIN)

    def may_act_for(self, owner: str) -> None:
        """Refuse who is neither the owner nor an administrator."""
        if owner != self.name:
            self.need_admin()

    def may_see(self, owner: str, team: str | None) -> bool:
        """Whether they may know of what is `owner`'s and charged to `team`, and end it: the owner, a lead of that
        team, an administrator. What is in it (files, logs, output) is the owner's and administrators' alone.
        """
        return self.admin or owner == self.name or (team is not None and team in self.leads)

    def need_sight(self, owner: str, team: str | None) -> None:
        """Refuse who may not."""
        if not self.may_see(owner, team):
            self.need_admin()

    def need_lead(self, team: str) -> None:
        """Refuse who neither leads this team nor administers."""
        if team not in self.leads:
            self.need_admin()


def charged(person: Person, asked: str | None) -> str | None:
    """The team that pays: the one asked for, else that of the server or work that asks, else the only one.

    None is who is in no team. Raises `NotYourTeam`, and `NameYourTeam` where there are several: who could leave it
    open would be charged to none of them, and meet no limit.
    """
    if asked is not None:
        if not person.in_team(asked):
            raise NotYourTeam(team=asked, teams=_listed(person.teams) or "-")
        return asked
    if person.team is not None and person.in_team(person.team):
        return person.team
    if len(person.teams) > 1:
        raise NameYourTeam(teams=_listed(person.teams))
    return next(iter(person.teams), None)


def _listed(teams: Collection[str]) -> str:
    return ", ".join(sorted(teams))
