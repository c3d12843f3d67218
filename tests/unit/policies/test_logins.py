"""Who goes on while nobody can be asked, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dure_hub.policies.keys import FULL, JOBS, PREDICT, READ, SCOPES, SEEN, may, may_predict
from dure_hub.policies.logins import end_of, is_due, unreachable

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_silent_provider_ends_nobody_before_the_bound() -> None:
    assert unreachable(NOW - HOUR, NOW, 3601, NOW).code == "unchecked"
    verdict = unreachable(NOW - HOUR, NOW, 3600, NOW)
    assert (verdict.allowed, verdict.code) == (False, "unchecked_too_long")
    assert verdict.facts["since"] == (NOW - HOUR).isoformat()
    assert unreachable(None, NOW, 3600, NOW).allowed
    assert not unreachable(None, NOW - HOUR, 3600, NOW).allowed


def test_a_notice_never_makes_an_end_later() -> None:
    assert end_of(NOW + HOUR, 600, NOW) == NOW + timedelta(seconds=600)
    assert end_of(NOW + timedelta(seconds=60), 600, NOW) == NOW + timedelta(seconds=60)
    assert end_of(None, 600, NOW) == NOW + timedelta(seconds=600)


def test_who_was_never_asked_about_is_due() -> None:
    assert is_due(None, 120, NOW)
    assert is_due(NOW - timedelta(seconds=120), 120, NOW)
    assert not is_due(NOW - timedelta(seconds=100), 120, NOW)


def test_what_keys_may() -> None:
    areas = (None, SEEN, JOBS)
    allowed = {
        (scope, area, changes)
        for scope in SCOPES
        for area in areas
        for changes in (False, True)
        if may([scope], area, changes)
    }
    assert allowed == {
        (READ, SEEN, False),
        (READ, JOBS, False),
        (JOBS, JOBS, False),
        (JOBS, JOBS, True),
    }
    assert not may([], SEEN, False)


def test_a_key_for_one_model_asks_no_other() -> None:
    assert may_predict([PREDICT], ["digits"], "digits")
    assert not may_predict([PREDICT], ["digits"], "digits2")
    assert may_predict([PREDICT], [], "anything")
    assert may_predict([FULL], [], "anything")
    assert not may_predict([READ, JOBS], [], "digits")
