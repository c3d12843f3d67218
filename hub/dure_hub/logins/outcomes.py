"""What a login provider says of a person, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dure_hub.policies.teams import Teams, teams_of
from dure_hub.settings import Settings


@dataclass(frozen=True)
class Confirmed:
    """It knows them. `teams` None is a provider that says nothing of teams; `kept` is for the next question."""

    subject: str | None
    teams: Teams | None
    admin: bool
    kept: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Gone:
    """It lets them in no more; `why` is a code, or its own words."""

    why: str


@dataclass(frozen=True)
class Unreachable:
    """It could not be asked, or its answer says nothing of the person."""

    why: str


Outcome = Confirmed | Gone | Unreachable


def confirmed(
    settings: Settings,
    name: str,
    subject: str | None,
    groups: list[Any] | None,
    kept: Mapping[str, Any] | None = None,
) -> Confirmed:
    """What these groups make of a person. `groups` None is a provider that did not say."""
    teams = None
    if settings.groups_managed and groups is not None:
        teams = teams_of(groups, settings.login_team_prefix, settings.team_names)
    admin_group = settings.login_admin_group
    admin = name in settings.oidc_admins or bool(admin_group and admin_group in (groups or ()))
    return Confirmed(subject[:255] if subject else None, teams, admin, kept)
