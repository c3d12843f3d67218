"""The administrators' two views: what they look at, and what their clicks lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dure_widgets import EnvironmentsView, FleetView
from tests.unit.sdk.portal import FakePortal, error
from tests.unit.widgets.kit import bytes_of, click, recorded

GRANTED = "2026-03-02T09:00:00Z"
TICKET = {"id": "01T", "state": "waiting", "purpose": "notebook", "profile": "cpu", "asked_at": GRANTED}
HOLDER = {
    "lease": "01L",
    "owner": "ana",
    "purpose": "notebook",
    "subject": "environment:ana/default",
    "profile": "cpu",
    "since": GRANTED,
    "cpu_cores": 0.5,
    "memory_mb": 2048,
}
FLEET = {
    "at": GRANTED,
    "cpu_cores": 8,
    "memory_mb": 16384,
    "holders": [HOLDER],
    "why_no_gpu": {"en": "No", "ko": "X"},
}


def environment(until: str = "2026-03-02T17:00:00Z", limit: str | None = "2026-03-03T09:00:00Z") -> dict[str, Any]:
    """Ana's server as the API shows it."""
    lease = {"id": "01L", "owner": "ana", "purpose": "notebook", "profile": "cpu", "granted_at": GRANTED}
    return {
        "name": "default",
        "owner": "ana",
        "profile": "cpu",
        "phase": "running",
        "lease": {**lease, "until": until},
        "extendable_until": limit,
    }


def event(number: int, thing: str) -> dict[str, Any]:
    """Something that happened."""
    return {"id": f"01E{number}", "actor": "ana", "verb": "environment.request", "object": thing, "at": GRANTED}


@pytest.fixture
def asked() -> Iterator[FakePortal]:
    """The SDK speaks to it."""
    from dure.client import use

    fake = FakePortal(
        {
            "GET /api/v1/fleet": FLEET,
            "GET /api/v1/environments": [environment()],
            "GET /api/v1/environments/default": environment(),
            "GET /api/v1/events": [event(1, "environment:ana/default"), event(2, "ticket:01T")],
            "POST /api/v1/environments/default/extend": lambda r: httpx.Response(200, json=environment()),
            "DELETE /api/v1/environments/default": lambda r: httpx.Response(204),
        }
    )
    use(fake.client())
    try:
        yield fake
    finally:
        use(None)


def test_the_fleet_is_there_at_once_and_what_is_unknown_stays_null(asked: FakePortal) -> None:
    view = FleetView(language="ko")
    assert view.state["fleet"]["cpu_used"] is None
    assert view.state["fleet"]["holders"][0]["memory_used_mb"] is None
    assert view.words["no_end"] == "끝 없음"
    assert view.problem is None


def test_a_fleet_that_may_not_be_seen_is_a_sentence(asked: FakePortal) -> None:
    asked.routes["GET /api/v1/fleet"] = error(403, "not_allowed", user="ana", scope="custom:dure:admin")
    view = FleetView(language="en")
    assert view.state == {"fleet": None}
    assert "ana may not do this" in view.problem["message"]
    asked.routes["GET /api/v1/fleet"] = FLEET
    click(view, "tick")
    assert view.problem is None
    assert view.state["fleet"]["cpu_cores"] == 8


def test_everybodys_servers_and_what_happened_to_servers(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    assert [one["owner"] for one in view.state["environments"]] == ["ana"]
    assert [one["id"] for one in view.state["events"]] == ["01E1"]
    (listed,) = [one for one in asked.asked if one.url.path == "/api/v1/environments"]
    assert dict(listed.url.params) == {"everyone": "true", "active": "true"}
    click(view, "tick", ended=True)
    click(view, "stop", owner="ana", name="default", reason="A demo")
    click(view, "tick", ended=False)
    sent = [dict(one.url.params) for one in asked.asked if one.url.path == "/api/v1/environments"]
    assert sent[1:] == [{"everyone": "true"}, {"everyone": "true"}, {"everyone": "true", "active": "true"}]


def test_extending_looks_at_one_server_alone(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    asked.asked.clear()
    click(view, "extend", owner="ana", name="default", hours=1)
    first = asked.asked[0]
    assert (first.url.path, dict(first.url.params)) == ("/api/v1/environments/default", {"owner": "ana"})


def test_what_came_of_an_action_stands_until_the_next_server_of_the_name(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    click(view, "stop", owner="ana", name="default", reason="A demo", now=True)
    ended = {**environment(), "phase": "stopped", "lease": None, "reason": "A demo"}
    asked.routes["GET /api/v1/environments"] = []
    asked.routes["GET /api/v1/environments/default"] = ended
    for _ in range(2):
        click(view, "tick")
        assert [one["phase"] for one in view.state["environments"]] == ["stopped"]
        assert view.state["notes"]["ana/default"]["word"] == "asked_to_stop"
    assert asked.paths("GET").count("/api/v1/environments/default") == 1, "what has ended stays as it is"
    asked.routes["GET /api/v1/environments"] = [
        {**environment(), "lease": None, "ticket": TICKET, "phase": "waiting"}
    ]
    click(view, "tick")
    assert view.state["notes"] == {}, "it waits for another lease"


def test_a_note_goes_with_its_lease(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    click(view, "extend", owner="ana", name="default", hours=1)
    click(view, "tick")
    assert "ana/default" in view.state["notes"]
    another = environment()
    another["lease"] = {**another["lease"], "id": "02L"}
    asked.routes["GET /api/v1/environments"] = [another]
    click(view, "tick")
    assert view.state["notes"] == {}


def test_a_server_that_is_gone_with_its_owner_is_no_trouble(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    click(view, "stop", owner="ana", name="default", reason="A demo")
    asked.routes["GET /api/v1/environments"] = []
    asked.routes["GET /api/v1/environments/default"] = error(404, "not_found", kind="environment", name="default")
    click(view, "tick")
    assert (view.problem, view.state["environments"], view.state["notes"]) == (None, [], {})


@pytest.mark.parametrize(
    ("hours", "until"), [(1, "2026-03-02T18:00:00"), (4, "2026-03-02T21:00:00"), (30, "2026-03-03T09:00:00")]
)
def test_extending_goes_from_the_present_end_and_no_further_than_allowed(
    asked: FakePortal, hours: int, until: str
) -> None:
    view = EnvironmentsView(language="en")
    click(view, "extend", owner="ana", name="default", hours=hours)
    (sent,) = [one for one in zip(asked.asked, asked.bodies, strict=True) if one[0].method == "POST"]
    assert sent[0].url.params["owner"] == "ana"
    assert sent[1]["until"].startswith(until)
    note = view.state["notes"]["ana/default"]
    assert (note["kind"], note["word"]) == ("good", "extended")


def test_a_refusal_stands_beside_its_server(asked: FakePortal) -> None:
    refused = error(409, "not_running", name="default", phase="stopping")
    asked.routes["POST /api/v1/environments/default/extend"] = refused
    view = EnvironmentsView(language="en")
    click(view, "extend", owner="ana", name="default", hours=1)
    note = view.state["notes"]["ana/default"]
    assert note["kind"] == "bad"
    assert "stopping" in note["text"]
    assert "Nothing was changed" in note["text"]
    assert view.problem is None


def test_a_stop_needs_a_reason_and_sends_it(asked: FakePortal) -> None:
    view = EnvironmentsView(language="en")
    click(view, "stop", owner="ana", name="default", reason="  ")
    assert view.state["notes"]["ana/default"]["kind"] == "bad"
    assert not [one for one in asked.asked if one.method == "DELETE"]
    click(view, "stop", owner="ana", name="default", reason="A demo")
    (sent,) = [one for one in asked.asked if one.method == "DELETE"]
    assert dict(sent.url.params) == {"owner": "ana", "reason": "A demo"}
    assert view.state["notes"]["ana/default"] == {"kind": "good", "word": "told_to_stop"}
    click(view, "stop", owner="ana", name="default", reason="A demo", now=True)
    (_, sent) = [one for one in asked.asked if one.method == "DELETE"]
    assert dict(sent.url.params) == {"owner": "ana", "reason": "A demo", "now": "true"}
    assert view.state["notes"]["ana/default"] == {"kind": "good", "word": "asked_to_stop"}


@pytest.mark.parametrize("kind", [FleetView, EnvironmentsView])
def test_the_views_are_light_and_speak_both_languages(kind: Any) -> None:
    with recorded() as sent:
        kind(bind=False, language="en")
    assert bytes_of(sent) < 60_000
    for key, text in kind.TEXTS.items():
        facts = [set(re.findall(r"{(\w+)}", sentence)) for sentence in text.values()]
        assert set(text) == {"en", "ko"}, key
        assert facts[0] == facts[1], key


@pytest.mark.parametrize("kind", [FleetView, EnvironmentsView])
def test_every_word_that_the_browser_says_is_there(kind: Any) -> None:
    said = set(re.findall(r'word\(model, "([\w.]+)"', kind._esm if isinstance(kind._esm, str) else str(kind._esm)))
    assert said <= set(kind(bind=False, language="en").words)
