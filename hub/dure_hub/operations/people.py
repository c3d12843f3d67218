"""Who asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from dure.errors import DureError, NotAllowed, Text

USE = "custom:dure:use"
ADMIN = "custom:dure:admin"
METRICS = "custom:dure:metrics"
"""What a token of a monitoring system may: read the metrics, and nothing else. Administrators may too."""


class NotYourTeam(DureError):
    """Somebody else's team would pay."""

    code, status = "not_your_team", 403
    message: ClassVar[Text] = {
        "en": "{team} is none of your teams, which are: {teams}.",
        "ko": "{team}은(는) 내 팀이 아닙니다. 내 팀: {teams}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name one of your teams, or none; an administrator adds you to a team in the hub. "
        "Nothing was started.",
        "ko": "내 팀 중 하나를 쓰거나 비워 두세요. 팀 추가는 관리자가 허브에서 합니다. 시작된 것은 없습니다.",
    }


@dataclass(frozen=True)
class Person:
    """The person a request speaks for. `scopes` are the hub's own words, `teams` the hub's groups."""

    name: str
    admin: bool = False
    scopes: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()

    def need_admin(self) -> None:
        """Refuse who is not an administrator."""
        if not self.admin:
            raise NotAllowed(user=self.name, scope=ADMIN)

    def may_act_for(self, owner: str) -> None:
        """Refuse who is neither the owner nor an administrator."""
        if owner != self.name:
            self.need_admin()


def charged(person: Person, asked: str | None) -> str | None:
    """The team that pays: the one asked for, which must be one of theirs, else `team_of`. Raises `NotYourTeam`.

    An administrator may name any team.
    """
    if asked is None:
        return team_of(person)
    if asked not in person.teams and not person.admin:
        raise NotYourTeam(team=asked, teams=", ".join(sorted(person.teams)) or "-")
    return asked


def team_of(person: Person) -> str | None:
    """The team that pays for what this person starts without naming one: the only one they are in, else none."""
    return only(person.teams)


def only(teams: Collection[str]) -> str | None:
    """The team, if there is one and no other."""
    return next(iter(teams)) if len(teams) == 1 else None
