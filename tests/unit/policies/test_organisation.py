"""What an organisation file changes, as values."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.errors import LANGUAGES
from dure.wire.organisation import OrganisationFile
from dure_hub.catalogue.marked import BadFile, Marked
from dure_hub.operations import organisation_file as files
from dure_hub.policies.organisation import (
    BUDGET,
    KINDS,
    QUOTA,
    RATE,
    TEAM,
    USER,
    Change,
    DatedRate,
    Problem,
    Tree,
    changes,
    check,
    merged,
)

TODAY = date(2026, 6, 1)
WAYS = {"by_password": True, "groups_managed": False}
RED = {"members": ["ana"], "leads": ["ana"], "projects": []}
PEOPLE = {name: {"administrator": name == "root", "disabled": False} for name in ("ana", "ben", "root")}
NOW: Tree = {
    USER: PEOPLE,
    TEAM: {"red": RED},
    QUOTA: {"team/red": {"gpus": 1}},
    BUDGET: {"team/red": {"amount": 5_000_000}},
    RATE: {"cpu": {"2026-01-01": 100, "2027-01-01": 300}},
}


def after(asked: Tree, rates: list[DatedRate] | None = None) -> Tree:
    found = merged(NOW, asked, rates, TODAY)
    check(NOW, asked, found, **WAYS)
    return found


def test_what_is_left_out_is_not_touched_and_what_is_named_is_whole() -> None:
    assert changes(NOW, after({})) == []
    found = changes(NOW, after({QUOTA: {"user/ana": {"gpus": 2}}}))
    assert found == [
        Change(QUOTA, "team/red", None, {"gpus": 1}, None),
        Change(QUOTA, "user/ana", None, None, {"gpus": 2}),
    ]
    assert changes(NOW, after({QUOTA: {"team/red": {"gpus": 4}}})) == [Change(QUOTA, "team/red", "gpus", 1, 4)]


def test_people_are_never_deleted_by_leaving_them_out() -> None:
    assert changes(NOW, after({USER: {"root": PEOPLE["root"]}})) == []
    gone = after({USER: {"ben": {"administrator": False, "disabled": True}}})
    assert changes(NOW, gone) == [Change(USER, "ben", "disabled", False, True)]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([DatedRate("cpu", 100, None)], {"cpu": {"2026-01-01": 100}}),
        ([DatedRate("cpu", 200, None)], {"cpu": {"2026-01-01": 100, "2026-06-01": 200}}),
        ([DatedRate("cpu", 200, TODAY)], {"cpu": {"2026-01-01": 100, "2026-06-01": 200}}),
        ([DatedRate("cpu", 9, date(2026, 7, 1))], {"cpu": {"2026-01-01": 100, "2026-07-01": 9}}),
        ([DatedRate("rtx", 9, date(2026, 1, 1))], {"cpu": {"2026-01-01": 100}, "rtx": {"2026-01-01": 9}}),
        ([], {"cpu": {"2026-01-01": 100}}),
    ],
)
def test_rates_that_have_begun_stay_and_those_to_come_are_as_the_file_says(
    rates: list[DatedRate], expected: dict[str, dict[str, int]]
) -> None:
    assert after({}, rates)[RATE] == expected


@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2026, 5, 31)])
def test_the_past_is_never_priced_anew(day: date) -> None:
    with pytest.raises(Problem) as caught:
        after({}, [DatedRate("cpu", 7, day)])
    assert caught.value.path == ("rates", 0)
    assert "past" in caught.value.rule["en"]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({USER: {"Ana": {"administrator": False, "disabled": False}}}, ("users", "Ana")),
        ({USER: {"root": {"administrator": False, "disabled": False}}}, ("users",)),
        ({USER: {"root": {"administrator": True, "disabled": True}}}, ("users",)),
        ({TEAM: {"red": {**RED, "members": ["ana", "ana"]}}}, ("teams", "red", "members", 1)),
        ({TEAM: {"red": {**RED, "members": ["ana", "eve"]}}}, ("teams", "red", "members", 1)),
        ({TEAM: {"red": {**RED, "leads": ["ben"]}}}, ("teams", "red", "leads", 0)),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(asked: Tree, path: tuple[object, ...]) -> None:
    with pytest.raises(Problem) as caught:
        after(asked)
    assert caught.value.path == path
    assert set(caught.value.rule) == set(LANGUAGES)


def test_where_the_login_provider_has_people_or_groups_the_file_names_none() -> None:
    for asked, ways, path in (
        ({USER: {"ana": PEOPLE["ana"]}}, {"by_password": False, "groups_managed": False}, ("users",)),
        ({TEAM: {"red": RED}}, {"by_password": True, "groups_managed": True}, ("teams", "red", "members")),
    ):
        with pytest.raises(Problem) as caught:
            check(NOW, asked, merged(NOW, asked, None, TODAY), **ways)
        assert caught.value.path == path
    led = {TEAM: {"red": {"members": [], "leads": ["ben"], "projects": []}}}
    check(NOW, led, merged(NOW, led, None, TODAY), by_password=True, groups_managed=True)


NAMES = st.sampled_from(["ana", "ben", "cho", "no", "007", "a b", "*", "팀", "x: y", "#1"])
PERSONS = st.sampled_from(["ana", "ben", "root", "no", "y"])
MONEY = st.integers(1, 2**53 - 1)
TEAMS = st.dictionaries(
    NAMES,
    st.lists(PERSONS, unique=True).map(
        lambda who: {"members": sorted(who), "leads": sorted(who)[:1], "projects": ["a"]}
    ),
)
TREES = st.fixed_dictionaries(
    {
        USER: st.just(
            {name: {"administrator": name == "root", "disabled": name == "no"} for name in ("root", "no")}
        ),
        TEAM: TEAMS,
        QUOTA: st.dictionaries(
            NAMES.map(lambda name: f"team/{name}"),
            st.dictionaries(st.sampled_from(["gpus"]), st.integers(0, 9), min_size=1),
        ),
        BUDGET: st.dictionaries(NAMES.map(lambda name: f"team/{name}"), st.fixed_dictionaries({"amount": MONEY})),
        RATE: st.dictionaries(
            st.sampled_from(["cpu", "h100-sxm-80"]),
            st.dictionaries(
                st.dates(date(2020, 1, 1), date(2030, 1, 1)).map(str), st.integers(0, 10**12), min_size=1
            ).map(lambda days: dict(sorted(days.items()))),
        ).map(lambda gpus: dict(sorted(gpus.items()))),
        "profile": st.dictionaries(
            st.sampled_from(["cpu", "on", "1g.10gb"]),
            st.just({"like": "cpu", "price": 0.000001, "groups": ["no", "팀"]}),
        ),
        "devices": st.sampled_from([{}, {"": {"gpu_sharing": "mps", "pools": {"no": "training"}}}]),
    }
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_to_apply_what_was_exported_changes_nothing(tree: Any) -> None:
    text = files.written(files.values_of(tree, **WAYS))
    file = Marked(text, "org.yaml").read(OrganisationFile)
    asked = files.tree_of(file)
    again = files.normal(merged(tree, asked, files.rates_of(file), TODAY))
    assert changes(files.normal(tree), again) == []
    assert set(again) == set(KINDS)


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        ("teams:\n  red:\n    members: [ana,\n      7]\n", 4, "teams.red.members[2]"),
        ("teams:\n  red: {}\n  red: {}\n", 3, "teams.red"),
        ("users:\n  ana: {admin: true}\n", 2, "users.ana.admin"),
        ("quotas:\n  teams:\n    red: {gpus: -1}\n", 3, "quotas.teams.red.gpus"),
        ("budgets:\n  projects:\n    alone: 3\n", 3, "budgets.projects.alone"),
        ("rates:\n  - {gpu: cpu, rate: 1}\n  - {gpu: cpu, rate: dear}\n", 3, "rates[2].rate"),
        ("- a\n", 1, "the file"),
        ("a: [", 1, "org.yaml"),
        ("teams: &x {}\nusers: *x\n", 2, "*"),
        ("colour: red\n", 1, "colour"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_and_place(text: str, line: int, place: str) -> None:
    with pytest.raises(BadFile) as caught:
        Marked(text, "org.yaml").read(OrganisationFile)
    assert (caught.value.facts["line"], caught.value.facts["place"]) == (line, place)
    for language in LANGUAGES:
        assert str(line) in caught.value.text(language)
        assert "{" not in caught.value.text(language)
