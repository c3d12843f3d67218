"""Who pays for what a widget launches: what the form offers, and what it sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dure import wire
from dure.errors import BadRequest, DureError, Text
from dure.wire.base import NAME_PATTERN
from dure.wire.money import LONGEST_PROJECT
from dure_widgets.panel import Panel
from dure_widgets.portal import Portal

TEAM, PROJECT = "payer.team", "payer.project"
"""What is wrong stands at these."""
_OF_TEAM = ("name_your_team", "not_your_team")

TEXTS: Mapping[str, Text] = {
    "payer_team": {"en": "Team", "ko": "팀"},
    "payer_team_help": {"en": "It pays for this.", "ko": "비용을 내는 팀입니다."},
    "payer_choose": {"en": "Choose", "ko": "선택하세요"},
    "payer_project": {"en": "Project", "ko": "프로젝트"},
    "payer_project_help": {"en": "may be empty", "ko": "비워도 됩니다"},
}
PROJECT_RULE: Text = {
    "en": f"a project's name has at most {LONGEST_PROJECT} small letters, digits and single hyphens, and begins "
    "with a letter",
    "ko": f"프로젝트 이름은 소문자로 시작하고 소문자, 숫자, 하이픈으로 {LONGEST_PROJECT}자 이내여야 합니다",
}
NO_TEAM: Text = {
    "en": "You are in several teams: choose the one that pays.",
    "ko": "여러 팀에 속해 있습니다. 비용을 낼 팀을 선택하세요.",
}


def given(team: str | None, project: str | None) -> dict[str, str]:
    """What code has chosen already, for the form."""
    return {name: one for name, one in (("team", team), ("project", project)) if one is not None}


class Payer:
    """The teams of who looks, asked for once, since they seldom change."""

    def __init__(self, panel: Panel, portal: Portal) -> None:
        self._panel, self._portal = panel, portal
        self._me: wire.User | None = None

    def look(self) -> None:
        """Show them. Where the portal does not say, the form works without."""
        if self._me is not None:
            return
        try:
            me = self._me = self._portal.whoami()
        except DureError:
            return
        self._panel.show(payer={"name": me.name, "teams": me.teams, "team": me.team})

    def planned(self, values: Mapping[str, Any]) -> dict[str, str | None]:
        """What the form says so far, for a plan; what is wrong in it is left out."""
        return self.chosen(values, {})

    def chosen(self, values: Mapping[str, Any], wrong: dict[str, str]) -> dict[str, str | None]:
        """`team` and `project` as the SDK takes them; None is the portal's own choice."""
        team, project = (str(values.get(name) or "").strip() or None for name in ("team", "project"))
        me = self._me
        if team is None and me is not None and me.team is None and len(me.teams) > 1:
            wrong[TEAM] = NO_TEAM[self._panel.language]
        if project is not None and (len(project) > LONGEST_PROJECT or not re.fullmatch(NAME_PATTERN, project)):
            problem = BadRequest(field="project", value=repr(project[:80]), rule=PROJECT_RULE)
            wrong[PROJECT] = problem.text(self._panel.language)
            project = None
        return {"team": team, "project": project}

    def refused(self, error: DureError) -> dict[str, str] | None:
        """Where on the form the portal's refusal stands; None where it is about something else."""
        if error.facts.get("code", error.code) in _OF_TEAM:
            self._me = None  # somebody has changed the teams: ask anew
            return {TEAM: error.text(self._panel.language)}
        return None
