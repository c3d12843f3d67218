"""Quotas as parts of what a cluster has: never more than the quota, never more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure_hub.policies.entitlements import Part, Pieces, parts, rest

SLICES = {"slice": Pieces(28, 125)}


def test_a_quota_of_one_kind_is_what_it_buys_and_the_rest_is_nobodys() -> None:
    found = parts(SLICES, {"vision": 1, "speech": 2}, borrowing=False)
    assert found == {"vision": {"slice": Part(8, 8)}, "speech": {"slice": Part(16, 16)}}
    assert rest(SLICES, found) == {"slice": 4}


def test_who_may_borrow_has_no_ceiling() -> None:
    assert parts(SLICES, {"vision": 1}, borrowing=True)["vision"]["slice"] == Part(8, None)


def test_of_several_kinds_the_own_part_is_in_proportion_and_the_ceiling_is_of_each_alone() -> None:
    stock = {"whole": Pieces(4, 1000), "slice": Pieces(32, 125)}
    assert parts(stock, {"vision": 2}, borrowing=False)["vision"] == {"whole": Part(1, 2), "slice": Part(8, 16)}


def test_who_has_no_limit_shares_what_no_quota_promises() -> None:
    found = parts(SLICES, {"vision": 1, "a": None, "b": None}, borrowing=False)
    assert found["a"] == found["b"] == {"slice": Part(10, None)}
    assert rest(SLICES, found) == {"slice": 0}


def test_nothing_is_promised_of_nothing() -> None:
    assert parts({}, {"vision": 1, "a": None}, borrowing=False) == {"vision": {}, "a": {}}
    assert parts(SLICES, {}, borrowing=True) == {}
    assert parts(SLICES, {"vision": 0}, borrowing=False)["vision"]["slice"] == Part(0, 0)


KINDS = st.dictionaries(
    st.text(max_size=2), st.builds(Pieces, st.integers(1, 500), st.integers(1, 1000)), max_size=4
)
QUOTAS = st.dictionaries(st.text(max_size=2), st.none() | st.integers(0, 1000), max_size=5)


@given(KINDS, QUOTAS, st.booleans())
def test_own_parts_are_within_the_quota_and_within_what_there_is(
    stock: dict[str, Pieces], quotas: dict[str, int | None], borrowing: bool
) -> None:
    found = parts(stock, quotas, borrowing=borrowing)
    assert all(left >= 0 for left in rest(stock, found).values())
    for team, quota in quotas.items():
        for kind, part in found[team].items():
            assert 0 <= part.own <= stock[kind].count
            assert part.most is None or part.own <= part.most <= stock[kind].count
        if quota is not None:
            own = sum(part.own * stock[kind].thousandths for kind, part in found[team].items())
            assert own <= quota * 1000
