"""Names of folders and of people."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.naming import SLUG_LIMIT, is_person, slug
from dure_hub.spawners.naming import is_server_name

NAMES = st.one_of(st.text(max_size=80), st.text("ab-_.A1", max_size=50), st.from_regex(r"[a-z]+-[a-z0-9]+"))


@given(NAMES)
def test_a_slug_is_a_valid_name_everywhere(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9](-{0,2}[a-z0-9])*", slug(name))
    assert len(slug(name)) <= SLUG_LIMIT


@given(NAMES, NAMES)
def test_two_names_never_share_a_slug(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


@given(NAMES)
def test_no_name_takes_the_slug_of_another(name: str) -> None:
    assert slug(slug(name)) == slug(name) or "--" in slug(name)
    assert slug(name) == name or "--" in slug(name)


@pytest.mark.parametrize(("name", "same"), [("ana", True), ("ana-b2", True), ("a_b", False), ("Ana", False)])
def test_plain_names_stay_as_they_are(name: str, same: bool) -> None:
    assert (slug(name) == name) is same


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("ana", True),
        ("a", True),
        ("a" * 31, True),
        ("a_b-3", True),
        ("a" * 32, False),
        ("Ana", False),
        ("1a", False),
        ("", False),
        ("ana\n", False),
        ("ana/ben", False),
        ("아나", False),
        ("anа", False),  # the last letter is Cyrillic
    ],
)
def test_names_of_people(name: str, fine: bool) -> None:
    assert is_person(name) is fine


@pytest.mark.parametrize(
    ("name", "fine"), [("", True), ("second", True), ("default", False), ("a b", False), ("a" * 31, False)]
)
def test_names_of_servers(name: str, fine: bool) -> None:
    assert is_server_name(name) is fine
