"""Quotas: what starts, what waits, what is blocked, who is warned."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.policies.cost import HOUR_US
from dure_hub.policies.quota import MIB, Quota, Use, check_call, check_start, check_upload, near, thousandths
from dure_hub.policies.verdict import Verdict

NOW = datetime(2026, 12, 31, 22, tzinfo=UTC)
H100 = MigGrid(
    "h100",
    8,
    (
        MigProfile("1g.10gb", 19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7, 9984, 16),
        MigProfile("3g.40gb", 9, 3, 4, (0, 4), 2, 40448, 60),
        MigProfile("4g.40gb", 5, 4, 4, (0,), 1, 40448, 64),
        MigProfile("7g.80gb", 0, 7, 8, (0,), 1, 81152, 132),
    ),
)
UNSEEN = MigGrid("unseen", 8, (MigProfile("2g", 14, 2, 2, (0, 2, 4), 3), MigProfile("7g", 0, 7, 8, (0,), 1)))


def spec(**given: object) -> ProfileSpec:
    return ProfileSpec("p", {}, {}, 1, 1, 60, 60, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "grid", "counts"),
    [
        (spec(), None, 0),
        (spec(gpus=4), None, 4000),
        (spec(share=250, sharing="mps"), None, 250),
        (spec(mig="1g.10gb"), H100, 125),  # memory 1/8 is more than 16 of 132 SMs
        (spec(mig="3g.40gb"), H100, 500),
        (spec(mig="7g.80gb"), H100, 1000),
        (spec(mig="2g"), UNSEEN, 285),  # without SMs by compute slices
        (spec(mig="1g.10gb"), None, 1000),
        (spec(mig="5g.50gb"), H100, 1000),
    ],
)
def test_a_part_of_a_gpu_counts_as_the_larger_of_its_parts(
    profile: ProfileSpec, grid: MigGrid | None, counts: int
) -> None:
    assert thousandths(profile, grid) == counts


def code(verdict: Verdict) -> tuple[bool, str, object]:
    return verdict.allowed, verdict.code, verdict.facts.get("waits")


def test_what_fits_into_the_quota_starts_and_what_does_not_waits_or_never_will() -> None:
    quota = Quota(gpus=2, kind="team", name="vision")
    assert code(check_start(quota, Use(gpus=1500), 500, NOW)) == (True, "within_quota", None)
    over = check_start(quota, Use(gpus=1500), 501, NOW)
    assert code(over) == (False, "quota_gpus", True)
    assert over.facts["limit"] == 2
    assert over.facts["used"] == 1.5
    assert over.facts["asked"] == 0.501
    assert (over.facts["kind"], over.facts["name"]) == ("team", "vision")
    assert code(check_start(quota, Use(), 4000, NOW)) == (False, "quota_gpus", False)
    assert code(check_start(quota, Use(gpus=2000), 1000, NOW, beyond=True)) == (True, "beyond_quota", None)


def test_no_limit_is_no_limit_and_work_without_a_gpu_uses_none() -> None:
    huge = Use(10**9, 10**18, 10**9, 10**15)
    assert check_start(Quota(), huge, 8000, NOW).allowed
    assert check_call(Quota(), huge, NOW).allowed
    assert check_upload(Quota(), huge, 10**12, NOW).allowed
    assert check_start(Quota(0, 0, 0, 0), huge, 0, NOW).allowed
    assert not check_start(Quota(gpus=0), Use(), 1, NOW).allowed


def test_gpu_hours_used_up_make_work_wait_for_the_next_month() -> None:
    quota = Quota(gpu_hours_month=10)
    assert check_start(quota, Use(gpu_us=10 * HOUR_US - 1), 1000, NOW).allowed
    spent = check_start(quota, Use(gpu_us=10 * HOUR_US), 1000, NOW, beyond=True)
    assert code(spent) == (False, "quota_gpu_hours", True)
    assert spent.facts["resets_at"] == "2027-01-01T00:00:00+00:00"
    assert spent.facts["used"] == 10
    assert check_call(quota, Use(gpu_us=10 * HOUR_US), NOW).allowed


def test_no_gpu_hours_at_all_is_nothing_to_wait_for() -> None:
    none = check_start(Quota(gpu_hours_month=0, kind="team", name="vision"), Use(), 1000, NOW, beyond=True)
    assert code(none) == (False, "quota_no_gpu_hours", False)
    assert (none.facts["limit"], none.facts["resets_at"]) == (0, None)
    assert check_start(Quota(gpu_hours_month=0), Use(), 0, NOW).allowed


def test_calls_and_uploads_are_blocked_until_their_day_or_month_is_over() -> None:
    quota = Quota(api_calls_day=100, upload_mb_month=5)
    assert check_call(quota, Use(api_calls=99), NOW).allowed
    called = check_call(quota, Use(api_calls=100), NOW)
    assert code(called) == (False, "quota_api_calls", False)
    assert called.facts["resets_at"] == "2027-01-01T00:00:00+00:00"
    assert check_upload(quota, Use(upload_bytes=4 * MIB), MIB, NOW).allowed
    sent = check_upload(quota, Use(upload_bytes=4 * MIB), MIB + 1, NOW)
    assert code(sent) == (False, "quota_upload", False)
    assert sent.facts["used"] == 4


def test_the_highest_threshold_is_told_and_none_below() -> None:
    quota = Quota(10, 10, 10, 10)
    assert near(quota, Use(7999, 8 * HOUR_US - 1, 7, 8 * MIB - 1)) == {}
    assert near(quota, Use(8000, 10 * HOUR_US, 9, 8 * MIB)) == {
        "gpus": 80,
        "gpu_hours_month": 100,
        "api_calls_day": 80,
        "upload_mb_month": 80,
    }
    assert near(Quota(gpus=0), Use(gpus=5)) == {}


@given(limit=st.integers(0, 8), asks=st.lists(st.integers(1, 3000), max_size=60))
def test_what_was_allowed_never_comes_to_more_than_the_limit(limit: int, asks: list[int]) -> None:
    used = 0
    for asked in asks:
        if check_start(Quota(gpus=limit), Use(gpus=used), asked, NOW).allowed:
            used += asked
    assert used <= limit * 1000
