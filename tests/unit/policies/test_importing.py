"""Who becomes whom, and which volumes may be theirs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.importing import (
    Mapped,
    OldUser,
    escaped_user_server,
    map_people,
    name_here,
    safe_user_server,
    volumes_of,
)
from dure_hub.policies.naming import is_person

NAMES = [
    ("ana", "ana"),
    ("Ana", "ana"),
    ("ana.kim", "ana-kim"),
    ("ana@example.org", "ana"),
    ("a_b-c9", "a_b-c9"),
    ("9lives", "lives"),
    ("_x", "x"),
    ("한나", None),
    ("2024", None),
    ("", None),
    ("@", None),
    ("a" * 40, "a" * 31),
    ("../etc", "etc"),
]


@pytest.mark.parametrize(("old", "new"), NAMES)
def test_a_name_becomes_one_of_ours_or_none(old: str, new: str | None) -> None:
    assert name_here(old) == new


@given(st.text(max_size=60))
def test_what_comes_out_is_a_persons_name_and_stays_as_it_is(old: str) -> None:
    new = name_here(old)
    assert new is None or (is_person(new) and name_here(new) == new)


def said(found: list[Mapped]) -> dict[str, tuple[str | None, str]]:
    return {one.old.name: (None if one.refused else one.name, one.why) for one in found}


def test_whose_names_meet_are_all_refused_and_nobody_is_merged() -> None:
    users = [OldUser(name) for name in ("ana", "Ana", "ana@example.org", "ben", "Cho", "한나", "root")]
    found = map_people(users, taken={"root"})
    assert said(found) == {
        "ana": (None, "collision"),
        "Ana": (None, "collision"),
        "ana@example.org": (None, "collision"),
        "ben": ("ben", "kept"),
        "Cho": ("cho", "changed"),
        "한나": (None, "no_name"),
        "root": (None, "taken"),
    }
    assert found[0].others == ("Ana", "ana@example.org")


def test_an_administrator_settles_it_by_name() -> None:
    users = [OldUser(name) for name in ("ana", "Ana", "한나")]
    asked = {"Ana": "ana2", "한나": "hanna"}
    assert said(map_people(users, asked=asked)) == {
        "ana": ("ana", "kept"),
        "Ana": ("ana2", "asked"),
        "한나": ("hanna", "asked"),
    }
    assert said(map_people([OldUser("Ana")], asked={"Ana": "No Name"})) == {"Ana": (None, "no_name")}
    assert said(map_people(users, asked={"한나": "ana"}))["한나"] == (None, "collision")


# What KubeSpawner 7.1.0 itself makes of them: by `escape_slug`, and by `{user_server}` of the scheme `safe`.
SLUGS = [
    ("ana", "", "ana", "ana"),
    ("Ana", "", "-41na", "ana---dea210f0"),
    ("ana.kim@example.org", "", "ana-2ekim-40example-2eorg", "ana-kim-example-org---79b28cc5"),
    ("ana-kim", "", "ana-2dkim", "ana-kim"),
    ("ana--kim", "", "ana-2d-2dkim", "ana-kim---d7bc0c89"),
    ("9", "", "9", "x-9---19581e27"),
    ("한", "", "-ed-95-9c", "x---89233692"),
    ("ana", "gpu", "ana--gpu", "ana--gpu"),
    ("ana", "GPU 2", "ana---47-50-55-202", "ana--gpu-2---b1ba3264"),
    ("a" * 48, "", "a" * 48, "aaaaaaaaaaaaaaaaa--x---51eb9331"),
]


@pytest.mark.parametrize(("user", "server", "escaped", "safe"), SLUGS)
def test_both_schemes_of_names(user: str, server: str, escaped: str, safe: str) -> None:
    assert (escaped_user_server(user, server), safe_user_server(user, server)) == (escaped, safe)


def test_volumes_the_likeliest_first() -> None:
    user = OldUser("ana-kim", servers=("gpu",), pvcs={"": "claim-of-old"})
    assert [(one.name, one.scheme, one.server) for one in volumes_of(user)] == [
        ("claim-of-old", "remembered", ""),
        ("claim-ana-kim", "safe", ""),
        ("claim-ana-2dkim", "escape", ""),
        ("claim-ana-kim--gpu", "safe", "gpu"),
        ("claim-ana-2dkim--gpu", "escape", "gpu"),
    ]
    assert [one.scheme for one in volumes_of(OldUser("ana"))] == ["safe"]


def test_names_are_those_of_kubespawner_itself() -> None:
    slugs = pytest.importorskip("kubespawner.slugs", reason="the extra `kubernetes` is not installed")

    def theirs(user: str, server: str) -> str:
        safe = slugs.safe_slug(user, max_length=48)
        more = slugs.safe_slug(server, max_length=48) if server else ""
        if len(safe) + len(more) + 2 > 48:
            return str(slugs.multi_slug([user, server], max_length=48))
        return f"{safe}--{more}" if server else str(safe)

    chance = random.Random(1)
    for _ in range(5000):
        user, server = (
            "".join(chance.choices("abcXYZ019-_.@ é한/🦜", k=chance.choice(sizes)))
            for sizes in ((1, 2, 8, 20, 44, 45, 46, 47, 48, 49, 60), (0, 0, 1, 5, 20, 40))
        )
        assert safe_user_server(user, server) == theirs(user, server)
        old = slugs.escape_slug(user) + (f"--{slugs.escape_slug(server)}" if server else "")
        assert escaped_user_server(user, server) == old
