"""What the SDK asks of the portal for servers, plans, the fleet and the audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import dure
from dure.cli import main
from dure.errors import BadRequest, NotAllowed, NotRunning
from tests.unit.sdk.portal import Queue, error, portal

PATH = "/api/v1/environments"
LEASE = {
    "id": "01JD0000000000000000000000",
    "owner": "ana",
    "purpose": "notebook",
    "profile": "cpu",
    "granted_at": "2026-11-22T00:00:00Z",
    "until": "2026-11-22T08:00:00Z",
}


def server(phase: str = "running", lease: dict[str, Any] | None = LEASE) -> dict[str, Any]:
    """A server as the portal shows it."""
    return {"name": "default", "owner": "ana", "profile": "cpu", "phase": phase, "lease": lease}


def test_hours_are_counted_from_the_present_end() -> None:
    routes = {f"GET {PATH}/default": server(), f"POST {PATH}/default/extend": server()}
    with portal(routes) as fake:
        assert dure.environments.extend(hours=1.5, owner="ana").owner == "ana"
    assert datetime.fromisoformat(fake.bodies[-1]["until"]) == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert [request.url.query for request in fake.asked] == [b"owner=ana", b"owner=ana"]


def test_an_end_is_sent_as_it_is_and_again_where_the_portal_is_away() -> None:
    until = datetime(2026, 11, 22, 9, tzinfo=UTC)
    with portal({f"POST {PATH}/work/extend": Queue(httpx.Response(503), server())}) as fake:
        dure.environments.extend("work", until=until)
    assert [datetime.fromisoformat(body["until"]) for body in fake.bodies] == [until, until]
    assert fake.asked[0].url.query == b""


def test_a_turn_is_taken_and_a_start_is_followed() -> None:
    step = {"percent": 50, "text": {"en": "Its process has started."}, "at": "2026-11-22T00:00:00Z"}
    routes = {
        f"POST {PATH}/work/start": server("starting"),
        f"GET {PATH}/work/progress": {"phase": "starting", "percent": 50, "steps": [step]},
    }
    with portal(routes):
        assert dure.environments.start("work").phase == "starting"
        assert dure.environments.progress("work").steps[0].text["en"] == "Its process has started."


def test_an_image_is_asked_for_by_name() -> None:
    with portal({f"POST {PATH}": server("waiting")}) as fake:
        dure.environments.create("cpu", image="torch-2.9")
    assert fake.bodies[0]["image"] == "torch-2.9"


def test_a_time_without_a_zone_is_this_machines() -> None:
    with portal({f"POST {PATH}/default/extend": server()}) as fake:
        dure.environments.extend(until=datetime(2026, 11, 22, 9))  # noqa: DTZ001 - what is tested
    expected = datetime(2026, 11, 22, 9).astimezone()
    assert datetime.fromisoformat(fake.bodies[0]["until"]) == expected


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "until"),
        ({"until": datetime(2026, 1, 1, tzinfo=UTC), "hours": 1}, "until"),
        ({"hours": 0}, "hours"),
        ({"hours": -1}, "hours"),
        ({"hours": float("nan")}, "hours"),
        ({"hours": 1e9}, "hours"),
    ],
)
def test_what_says_no_end_is_refused_before_anything_is_sent(wrong: dict[str, Any], field: str) -> None:
    with portal({}) as fake, pytest.raises(BadRequest, match=field):
        dure.environments.extend(**wrong)
    assert fake.asked == []


def test_hours_on_a_server_that_has_stopped_are_a_sentence() -> None:
    with portal({f"GET {PATH}/default": server("stopped", None)}), pytest.raises(NotRunning, match="stopped"):
        dure.environments.extend(hours=1)


def test_a_server_is_stopped_for_somebody_with_a_reason() -> None:
    with portal({f"DELETE {PATH}/default": httpx.Response(204)}) as fake:
        dure.environments.stop(owner="ana", reason="needs a repair & more")
        dure.environments.stop()
    assert dict(fake.asked[0].url.params) == {"owner": "ana", "reason": "needs a repair & more"}
    assert fake.asked[1].url.query == b""


def test_servers_of_everyone_are_listed_with_their_owners() -> None:
    with portal({f"GET {PATH}": [server()]}) as fake:
        assert "ana" in repr(dure.environments.list(everyone=True))
        assert "owner" not in repr(dure.environments.list())
        dure.environments.list(everyone=True, active=True)
    assert [request.url.query for request in fake.asked] == [b"everyone=true", b"", b"everyone=true&active=true"]


def test_a_plan_says_unknown_as_null() -> None:
    plan = {"profile": "cpu", "cpu_cores": 0.5, "memory_mb": 2048, "max_lifetime_s": 86400, "starts_now": False}
    with portal({"GET /api/v1/profiles/cpu/plan": plan}):
        seen = dure.plan()
    assert (seen.rate, seen.expected_start, seen.starts_now) == (None, None, False)


def test_the_fleet_and_the_events_are_read_or_refused_with_a_sentence() -> None:
    fleet = {"at": "2026-11-22T00:00:00Z", "cpu_cores": 2, "memory_mb": 4096}
    event = {"id": "1", "actor": "root", "verb": "environment.stop", "object": "environment:ana/default"}
    routes = {"GET /api/v1/fleet": fleet, "GET /api/v1/events": [event | {"at": "2026-11-22T00:00:00Z"}]}
    with portal(routes) as fake:
        assert dure.fleet().cpu_used is None
        assert "environment.stop" in repr(dure.events(limit=5, thing="environment:ana/default"))
    assert dict(fake.asked[1].url.params) == {"limit": "5", "object": "environment:ana/default"}
    refusal = error(403, "not_allowed", user="ana", scope="custom:dure:admin")
    with portal({"GET /api/v1/fleet": refusal}), pytest.raises(NotAllowed, match=r"custom:dure:admin"):
        dure.fleet()


def test_a_server_is_shared_by_name_and_closed_by_name() -> None:
    made = {"with": "ben", "since": "2026-11-22T00:00:00Z"}
    routes = {
        f"POST {PATH}/default/shares": Queue(httpx.Response(503), made),
        f"GET {PATH}/default/shares": [made],
        f"DELETE {PATH}/work/shares": httpx.Response(204),
    }
    with portal(routes) as fake:
        assert dure.environments.share("ben").person == "ben"
        assert [one.person for one in dure.environments.shares(owner="ana")] == ["ben"]
        dure.environments.unshare("ben", "work")
    assert fake.bodies[:2] == [{"with": "ben"}, {"with": "ben"}]
    assert [request.url.query for request in fake.asked[-2:]] == [b"owner=ana", b"with=ben"]


def test_a_notebook_is_shown_and_taken_back() -> None:
    about = {"id": "01JD0000000000000000000000", "owner": "ana", "environment": "default", "path": "a.ipynb"}
    made = {**about, "with": "ben", "created_at": "2026-11-22T00:00:00Z", "page": "/services/dure/shared/1"}
    routes = {
        "POST /api/v1/shares/notebooks": made,
        "GET /api/v1/shares/notebooks": [made],
        f"DELETE /api/v1/shares/notebooks/{about['id']}": httpx.Response(204),
    }
    with portal(routes) as fake:
        assert dure.environments.share_notebook("a.ipynb", "ben").id == about["id"]
        assert [one.path for one in dure.environments.shared_notebooks()] == ["a.ipynb"]
        dure.environments.unshare_notebook(about["id"])
    assert fake.bodies[0] == {"environment": "default", "path": "a.ipynb", "with": "ben"}


def test_the_command_shares_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    made = {"with": "ben", "since": None}
    with portal({f"POST {PATH}/work/shares": made, f"GET {PATH}/work/shares": [made]}) as fake:
        assert main(["share", "work", "--with", "ben"]) == 0
    assert fake.bodies[0] == {"with": "ben"}
    assert "ben" in capsys.readouterr().out


def test_a_server_saves_when_it_is_told_to() -> None:
    saved = {"saved": ["a.txt"], "failed": [], "pages": 1, "silent": 0, "hook": None}
    with portal({f"POST {PATH}/work/checkpoint": saved}) as fake:
        assert dure.environments.checkpoint("work", owner="ana").saved == ["a.txt"]
    assert fake.asked[-1].url.query == b"owner=ana"


def run(*words: str) -> int:
    """`dure servers …`"""
    return main(["servers", *words])


def test_the_command_lists_shows_extends_saves_and_stops(capsys: pytest.CaptureFixture[str]) -> None:
    checked = {**server(), "checks": [{"check": "kernels", "state": "idle", "since": "2026-11-22T01:00:00Z"}]}
    routes = {
        f"GET {PATH}": [server()],
        f"GET {PATH}/default": checked,
        f"POST {PATH}/default/extend": server(),
        f"POST {PATH}/default/checkpoint": {"saved": ["a.txt"]},
        f"DELETE {PATH}/default": None,
    }
    with portal(routes) as fake:
        assert run() == run("default") == run("default", "--extend", "2") == 0
        assert run("default", "--until", "2026-11-22T10:00+00:00") == run("default", "--save") == 0
        assert run("default", "--stop", "--owner", "ana", "--reason", "maintenance") == 0
    shown = capsys.readouterr().out
    assert "kernels  idle" in shown
    assert "a.txt" in shown
    ends = [datetime.fromisoformat(body["until"]).hour for body in fake.bodies if body and "until" in body]
    assert ends == [10, 10], "two hours after eight, and ten"
    assert fake.asked[-1].url.query == b"owner=ana&reason=maintenance"


def test_the_command_asks_for_a_server_or_takes_its_turn(capsys: pytest.CaptureFixture[str]) -> None:
    none = error(404, "not_found", kind="environment", name="work")
    routes = {
        f"GET {PATH}/work": Queue(none, server("held")),
        f"POST {PATH}": server("waiting"),
        f"POST {PATH}/work/start": server("starting"),
    }
    with portal(routes) as fake:
        assert run("work", "--start", "--profile", "gpu-full", "--hours", "1.5", "--team", "blue") == 0
        assert fake.bodies[-1] is not None
        assert {"profile": "gpu-full", "lifetime_s": 5400, "team": "blue", "name": "work"}.items() <= fake.bodies[
            -1
        ].items()
        assert run("work", "--start") == 0
    assert "starting" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--profile", "cpu"], "--profile"), (["--hours", "nan"], "--hours"), (["--team", "red"], "--team")],
)
def test_a_place_that_is_held_is_started_as_it_was_asked_for(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with portal({f"GET {PATH}/work": server("held")}) as fake:
        assert run("work", "--start", *words) == 1
    assert named in capsys.readouterr().err
    assert len(fake.asked) == 1, "nothing was started"


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "0", "721"])
def test_hours_that_no_server_runs_for_are_refused(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with portal({f"GET {PATH}/work": error(404, "not_found", kind="environment", name="work")}):
        assert run("work", "--start", "--hours", hours) == 1
    assert "--hours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--stop"], "NAME"),
        (["--owner", "ana"], "NAME"),
        (["work", "--everyone"], "--everyone"),
        (["work", "--profile", "cpu"], "--profile"),
        (["work", "--reason", "x"], "--reason"),
        (["work", "--start", "--owner", "ana"], "--owner"),
        (["work", "--until", "tomorrow"], "--until"),
        (["work", "--extend", "two"], "--extend"),
    ],
)
def test_words_that_do_not_go_together_are_named(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err
