"""`dure apply`, `dure export` and `dure teams`, as people type them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dure import wire
from dure.cli import main
from dure.organisation_commands import DIFFERS, told
from tests.unit.sdk.portal import portal as speaking

DIFF: dict[str, Any] = {
    "changes": [
        {"kind": "team", "name": "red", "before": None, "after": {"members": ["ana", "ben"], "leads": []}},
        {"kind": "quota", "name": "user/ana", "field": "gpus", "before": None, "after": 2},
        {"kind": "rate", "name": "cpu", "field": "2026-06-01", "before": 50_000, "after": 1_500_000},
        {"kind": "budget", "name": "team/blue", "before": {"amount": 5_000_000}, "after": None},
    ],
    "notes": [{"en": "ana has no password", "ko": "ana의 비밀번호가 없습니다"}],
    "applied": False,
    "revision": "abc",
    "waiting": [],
}
LINES = [
    "+ team red: members ana ben",
    "~ quota user/ana: gpus not set → 2",
    "~ rate cpu: 2026-06-01 0.05 → 1.5",
    "- budget team/blue",
    "Nothing was changed yet: 4 to change.",
    "ana has no password",
    "Revision abc.",
]


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")


def test_differences_are_told_in_words_and_coloured_only_where_asked() -> None:
    diff = wire.OrganisationDiff.model_validate(DIFF)
    assert told(diff, "en").splitlines() == LINES
    assert "\x1b" not in told(diff, "en")
    assert told(diff, "en", colour=True).startswith("\x1b[32m+ team red")
    assert "아직 변경하지 않았습니다" in told(diff, "ko")
    later = diff.model_copy(
        update={"applied": True, "waiting": [{"en": "the hub is away", "ko": "허브가 없습니다"}]}
    )
    assert "Changed: 4." in told(later, "en")
    assert "  the hub is away" in told(later, "en")


@pytest.mark.parametrize(("flag", "code"), [("--dry-run", 0), ("--check", DIFFERS)])
def test_to_look_sends_the_file_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, code: int
) -> None:
    file = tmp_path / "org.yaml"
    file.write_text("teams: {}\n")
    with speaking({"PUT /api/v1/organisation": DIFF}) as portal:
        assert main(["apply", "-f", str(file), flag, "--base", "abc"]) == code
    assert portal.bodies == [{"text": "teams: {}\n", "dry_run": True, "base": "abc"}]
    assert capsys.readouterr().out.splitlines() == LINES


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speaking({}):
        assert main(["apply", "-f", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err


def test_an_export_is_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"revision": "abc", "organisation": {"teams": {}}, "text": "teams: {}  # 팀\n"}
    with speaking({"GET /api/v1/organisation": answer}):
        assert main(["export"]) == 0
        assert capsys.readouterr().out == answer["text"]
        assert main(["export", "-o", str(tmp_path / "org.yaml")]) == 0
    assert (tmp_path / "org.yaml").read_text() == answer["text"]
    assert [one.name for one in tmp_path.iterdir()] == ["org.yaml"]


def test_teams_and_what_their_leads_may_end(capsys: pytest.CaptureFixture[str]) -> None:
    team = {"name": "red", "members": ["ana"], "leads": ["ana"], "projects": [], "lead": True}
    routes = {
        "GET /api/v1/teams": [team],
        "GET /api/v1/environments": [],
        "GET /api/v1/training/jobs": [],
        "DELETE /api/v1/training/jobs/fit": {},
    }
    with speaking(routes) as portal:
        assert main(["teams"]) == main(["servers", "--team", "red"]) == main(["jobs", "--team", "red"]) == 0
        assert main(["jobs", "fit", "--stop", "--owner", "ben", "--reason", "late"]) == 0
        assert main(["jobs", "fit", "--owner", "ben"]) == 1
    assert "red" in capsys.readouterr().out
    assert [dict(one.url.params) for one in portal.asked[1:]] == [
        {"team": "red"},
        {"team": "red"},
        {"owner": "ben", "reason": "late"},
    ]
