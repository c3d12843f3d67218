"""The name of a person's operating-system user."""

from __future__ import annotations

import re

from dure_hub.policies.naming import account_name


def test_a_person_has_one_account_name_that_linux_takes_and_nobody_else_has() -> None:
    people = ["ana", "ana-b", "ana_b", "a" * 31, "a" * 30 + "b", "-", "Ana", "나", "x" * 200, "all", "-all"]
    names = [account_name("dure-", person) for person in people]
    assert names[0] == "dure-ana"
    assert len({*names}) == len(people)
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name), name
        assert name != "dure--all"
    assert all(len(account_name("t12345678-", person)) <= 32 for person in people)
