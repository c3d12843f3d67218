"""Money and limits from the SDK and the command line."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

import dure
from dure.cli import main
from dure.errors import BadRequest
from tests.unit.sdk.portal import FakePortal, portal

LINE = {
    "key": "red",
    "cost": 123_450_000,
    "busy_cost": 100_000_000,
    "idle_cost": None,
    "hours": 41.5,
    "gpu_hours": 41.5,
}
COSTS: dict[str, Any] = {
    "start": "2026-11-01T00:00:00Z",
    "end": "2026-11-22T00:00:00Z",
    "by": "team",
    "zone": "UTC",
    "everyone": False,
    "lines": [LINE, {"key": None, "cost": 1, "hours": 1.0}],
    "others": {"key": None, "cost": 5_000_000, "hours": 2.0},
    "total": {"key": None, "cost": 128_450_001, "hours": 44.5},
}
BUDGET = {
    "kind": "team",
    "name": "red",
    "amount": 500_000_000,
    "month": "2026-11",
    "spent": 123_450_000,
    "percent": 24.7,
    "set_by": "root",
    "set_at": "2026-11-01T00:00:00Z",
}
QUOTA = {"kind": "user", "name": "ana", "gpus": 2, "used_gpus": 0.125, "used_api_calls": 7}
TEXT = {"en": "It will come to 200.00.", "ko": "200.00이(가) 됩니다."}
FORECAST = {
    "month": "2026-11",
    "at": "2026-11-22T00:00:00Z",
    "code": "forecast",
    "spent": 1,
    "days": 21,
    "days_needed": 3,
    "text": TEXT,
}
ADVICE = {
    "code": "idle_held",
    "owner": "ana",
    "profile": "gpu-full",
    "saved": 5_000_000,
    "facts": {},
    "text": TEXT,
}


def asked(fake: FakePortal) -> dict[str, list[str]]:
    return parse_qs(fake.asked[-1].url.query.decode())


def test_costs_are_shown_as_money_with_their_sum_and_unknown_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    with portal({"GET /api/v1/costs": COSTS}) as fake:
        found = dure.costs.by("team", start=datetime(2026, 11, 1, tzinfo=UTC), zone="Asia/Seoul")
    assert found.total.cost == 128_450_001
    assert found[0].cost == 123_450_000
    lines = repr(found).splitlines()
    assert lines[0].split()[:4] == ["key", "cost", "busy_cost", "idle_cost"]
    assert lines[1].split()[:4] == ["red", "123.45", "100.00", "unknown"]
    assert [line.split()[0] for line in lines[2:]] == ["none", "others", "total"]
    assert "128.45" in found._repr_html_()
    query = asked(fake)
    assert (query["by"], query["zone"]) == (["team"], ["Asia/Seoul"])
    assert datetime.fromisoformat(query["from"][0]) == datetime(2026, 11, 1, tzinfo=UTC)
    assert "to" not in query


def test_days_are_this_machines_where_no_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    with portal({"GET /api/v1/costs": COSTS}) as fake:
        dure.costs.by()
    assert asked(fake)["zone"] == ["Asia/Seoul"]


@pytest.mark.parametrize(
    ("amount", "micro"), [(500, 500_000_000), (0.1, 100_000), ("12.345678", 12_345_678), (None, None)]
)
def test_a_budget_is_set_in_units_and_sent_in_micro_units(amount: Any, micro: int | None) -> None:
    with portal({"PUT /api/v1/budgets": BUDGET}) as fake:
        dure.costs.set_budget("team", "red", amount)
    assert fake.bodies[-1] == {"kind": "team", "name": "red", "amount": micro}


@pytest.mark.parametrize("amount", [0, -1, "much", "1.2345678", float("nan"), float("inf")])
def test_an_amount_that_is_none_is_refused_before_it_is_sent(amount: Any) -> None:
    with portal({}) as fake, pytest.raises(BadRequest, match="amount"):
        dure.costs.set_budget("team", "red", amount)
    assert fake.asked == []


def test_a_quota_that_was_taken_away_is_none() -> None:
    with portal({"PUT /api/v1/quotas": httpx.Response(200, text="null")}) as fake:
        assert dure.costs.set_quota("user", "*") is None
    assert fake.bodies[-1]["gpus"] is None


def test_the_command_line_shows_costs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    routes = {
        "GET /api/v1/costs": COSTS,
        "GET /api/v1/forecast": FORECAST,
        "GET /api/v1/recommendations": [ADVICE],
    }
    with portal(routes) as fake:
        assert main(["costs", "--by", "day", "--from", "2026-11-01", "--to", "2026-11-02T09:00+09:00"]) == 0
        assert "합계" in capsys.readouterr().out
        assert asked(fake)["to"] == ["2026-11-02T09:00:00+09:00"]
        assert main(["costs", "--forecast"]) == 0
        assert capsys.readouterr().out == TEXT["ko"] + "\n"
        assert main(["costs", "--recommend"]) == 0
        assert capsys.readouterr().out == TEXT["ko"] + "\n"
        assert main(["costs", "--from", "yesterday"]) == 1
        assert "시각은" in capsys.readouterr().err


def test_the_command_line_sets_and_shows_budgets_and_quotas(capsys: pytest.CaptureFixture[str]) -> None:
    routes = {
        "GET /api/v1/budgets": [BUDGET],
        "PUT /api/v1/budgets": BUDGET,
        "GET /api/v1/quotas": [QUOTA],
        "PUT /api/v1/quotas": QUOTA,
    }
    with portal(routes) as fake:
        assert main(["budgets"]) == 0
        assert "123.45" in capsys.readouterr().out
        assert main(["budgets", "team", "red", "none"]) == 0
        assert fake.bodies[-2]["amount"] is None
        assert main(["quotas"]) == 0
        assert "0.125 / 2" in capsys.readouterr().out
        assert main(["quotas", "user", "*", "--gpus", "2", "--upload-mb", "9"]) == 0
        assert (fake.bodies[-2]["gpus"], fake.bodies[-2]["upload_mb_month"]) == (2, 9)
        assert fake.bodies[-2]["max_lifetime_s"] is None
        assert main(["quotas", "team", "red", "--server-hours", "1.5"]) == 0
        assert fake.bodies[-2]["max_lifetime_s"] == 5400
        capsys.readouterr()
        for hours in ("nan", "inf"):
            assert main(["quotas", "team", "red", "--server-hours", hours]) == 1
            assert f"--server-hours = {hours}" in capsys.readouterr().err
        assert main(["quotas", "user", "ana", "--remove"]) == 0
        for words in (
            ["budgets", "team", "red"],
            ["quotas", "user", "ana"],
            ["quotas", "--gpus", "2"],
            ["quotas", "user", "ana", "--gpus", "1", "--remove"],
        ):
            with pytest.raises(SystemExit) as ended:
                main(words)
            assert ended.value.code == 2


def test_a_day_without_a_zone_is_read_in_the_zone_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with portal({"GET /api/v1/costs": COSTS}) as fake:
            dure.costs.by(start=datetime(2026, 11, 1), end=datetime(2026, 12, 1, tzinfo=UTC), zone="Asia/Seoul")  # noqa: DTZ001
            assert asked(fake)["from"] == ["2026-11-01T00:00:00+09:00"]
            assert asked(fake)["to"] == ["2026-12-01T00:00:00+00:00"]
            words = ["costs", "--from", "2026-11-01", "--to", "2026-12-01T09:00Z", "--zone", "Asia/Seoul"]
            assert main(words) == 0
            assert asked(fake)["from"] == ["2026-11-01T00:00:00+09:00"]
            assert asked(fake)["to"] == ["2026-12-01T09:00:00+00:00"]
            assert main(["costs", "--from", "2026-11-01"]) == 0
            assert asked(fake)["from"] == ["2026-11-01T00:00:00-04:00"]
            assert main(["costs", "--from", "2026-11-01", "--zone", "Mars/Base"]) == 1
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("group", "limit"), [("day", "1000"), ("user", "200")])
def test_of_days_as_many_are_asked_for_as_a_window_has(group: str, limit: str) -> None:
    with portal({"GET /api/v1/costs": COSTS}) as fake:
        assert main(["costs", "--by", group]) == 0
        assert asked(fake)["limit"] == [limit]
        dure.costs.by(group, limit=5)
    assert asked(fake)["limit"] == ["5"]


def test_what_is_nearly_used_up_has_a_column_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    near = {**QUOTA, "near": {"gpus": 100, "api_calls_day": 80}, "max_lifetime_s": 5400}
    routes = {"GET /api/v1/budgets": [{**BUDGET, "near": 80}, BUDGET], "GET /api/v1/quotas": [near, QUOTA]}
    with portal(routes):
        assert main(["budgets"]) == 0
        head, warned, calm = capsys.readouterr().out.splitlines()
        assert head.split()[-1] == "near"
        assert warned.endswith("80 %")
        assert calm.split()[-1] == "-"
        assert main(["quotas"]) == 0
        head, warned, calm = capsys.readouterr().out.splitlines()
        assert head.split()[-2:] == ["server_hours", "near"]
        assert warned.endswith("gpus 100 %, api_calls 80 %")
        assert "  1.5  " in warned
        assert calm.split()[-2:] == ["-", "-"]
