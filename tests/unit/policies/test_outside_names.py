"""Names of outside objects: valid as DNS labels, never shared, and read back where they say everything."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dure_hub.policies.naming import LABEL_LIMIT, Outside, outside_name, parse, person_label, person_origin

TEXTS = st.one_of(st.text("ab-1_A.", max_size=6), st.text(max_size=90), st.from_regex(r"[a-z]+-[a-z0-9]+"))
PLAIN = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
THINGS = st.builds(Outside, TEXTS, TEXTS, TEXTS, st.integers(0, 10**9))
PLAIN_THINGS = st.builds(
    Outside, st.from_regex(r"[a-z](-?[a-z0-9]){0,9}", fullmatch=True), PLAIN, PLAIN, st.integers(0, 10**6)
)


@given(THINGS)
@example(Outside("", "", "", 0))
@example(Outside("한국", "팀", "역할", 1))
@example(Outside("a", "ſ", "K", 1))  # two letters that a careless rule takes for s and k
@example(Outside("a" * 200, "b", "c", 1))
def test_a_name_is_a_dns_label(thing: Outside) -> None:
    name = outside_name(thing)
    assert re.fullmatch(r"[a-z](-{0,2}[a-z0-9])*", name, flags=re.ASCII)
    assert len(name) <= LABEL_LIMIT
    assert name[2:4] != "--"  # RFC 5891 keeps these for internationalised names


@given(THINGS, THINGS)
@example(Outside("a-b", "c", "d", 1), Outside("a", "b-c", "d", 1))
@example(Outside("a", "b-c", "d", 1), Outside("a", "b", "c-d", 1))
@example(Outside("a", "b", "c", 11), Outside("a", "b", "c-1", 1))
@example(Outside("a", "b_c", "d", 1), Outside("a", "b.c", "d", 1))
@example(Outside("a", "", "b", 1), Outside("a", "b", "", 1))
def test_two_things_never_share_a_name(one: Outside, other: Outside) -> None:
    assert (outside_name(one) == outside_name(other)) == (one == other)


@given(PLAIN_THINGS)
def test_a_plain_name_is_what_it_says_and_is_read_back(thing: Outside) -> None:
    name = outside_name(thing)
    assert name == f"{thing.environment}-{thing.team}-{thing.role}-{thing.number}"
    assert parse(name) == thing


@given(THINGS)
def test_what_had_to_be_changed_is_read_back_by_nobody(thing: Outside) -> None:
    assert parse(outside_name(thing)) in (thing, None)


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Outside("prod", "vision", "server", 0), "prod-vision-server-0"),
        (Outside("eu-prod", "vision", "server", 12), "eu-prod-vision-server-12"),
        # Names that other programs remember: a change of the rule would lose what runs under them.
        (Outside("prod", "Vision Team", "server", 1), "prod-vision-team-server-1--12db9b5ab862"),
        (Outside("1st", "a", "b", 1), "x-1st-a-b-1--5ae55f908495"),
    ],
)
def test_names_stay_the_same(thing: Outside, name: str) -> None:
    assert outside_name(thing) == name


@pytest.mark.parametrize(
    "label", ["", "a-b-1", "a-b-c-01", "a-b-c-d", "a--b-c-d-1", "-a-b-c-1", "A-b-c-1", "a-b-c-1\n"]
)
def test_what_is_no_name_of_ours_is_none(label: str) -> None:
    assert parse(label) is None


def test_a_person_has_one_host_below_the_shared_one() -> None:
    assert person_label("ana") == "user-ana-lab-1"
    assert person_origin("http://dure.test:8000", "ana") == "http://user-ana-lab-1.dure.test:8000"
    assert person_origin("https://dure.example", "a_b") != person_origin("https://dure.example", "a-b")
    assert urlsplit(person_origin("https://dure.example", "a@b.example/..")).hostname.endswith(  # type: ignore[union-attr]
        ".dure.example"
    )
