"""Groups of a login provider, as teams: names that are valid, and of which no two are one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.naming import is_login
from dure_hub.policies.teams import EMPTY, NO_TEXT, TEAM_LIMIT, Teams, team_name, teams_of


@pytest.mark.parametrize(
    ("group", "team"),
    [
        ("vision", "vision"),
        ("Vision_2.nlp-kr", "Vision_2.nlp-kr"),
        ("영상팀", "영상팀"),
        ("research/vision", "research-vision--"),
        ("a b", "a-b--"),
        ("a--b", "a-b--"),
        ("CN=vision,OU=groups", "CN-vision-OU-groups--"),
        ("x" * 101, "x" * 90 + "--"),
    ],
)
def test_a_plain_name_stays_and_any_other_is_made_readable(group: str, team: str) -> None:
    name = team_name(group)
    assert name is not None
    assert name == team if not team.endswith("--") else re.fullmatch(re.escape(team) + "[0-9a-f]{8}", name)


@pytest.mark.parametrize("group", ["", "/", "---", " ", "🔥"])
def test_what_holds_nothing_readable_is_no_team(group: str) -> None:
    assert team_name(group) is None


@given(st.lists(st.text(max_size=130), unique=True, max_size=20))
def test_no_two_groups_are_one_team_and_each_is_one_short_line(groups: list[str]) -> None:
    import unicodedata

    names = [team_name(group) for group in groups]
    made = [name for name in names if name is not None]
    assert len(set(made)) == len(
        {unicodedata.normalize("NFC", g) for g, n in zip(groups, names, strict=True) if n}
    )
    for name in made:
        assert 1 <= len(name) <= TEAM_LIMIT
        assert re.fullmatch(r"[\w.-]+", name)


def test_prefix_and_mapping() -> None:
    groups = ["dure-vision", "staff", "ml people", "/dure-nlp", 7, "dure-", {"a": 1}]
    found = teams_of(groups, "dure-", {"ml people": "nlp people"})
    assert found.names == ("nlp", "nlp people", "vision")
    assert found.left_out == (("7", NO_TEXT), ("dure-", EMPTY), ("{'a': 1}", NO_TEXT))
    assert teams_of(["/a/b", "/other"], "/a/") == Teams(("b",))
    assert teams_of([]) == Teams()


@pytest.mark.parametrize("name", ["ana", "ana.kim@corp.example", "7ana", "a" * 64])
def test_a_provider_may_name_people_by_their_address(name: str) -> None:
    assert is_login(name)


@pytest.mark.parametrize("name", ["", "Ana", ".ana", "ana kim", "ana/ben", "a" * 65, "ana\n", "애나"])
def test_what_is_no_name(name: str) -> None:
    assert not is_login(name)
