"""What the canary panel asks the portal for, and what it then shows."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dure.errors import BadRequest
from dure.wire.ids import new_id
from dure_widgets import CanaryPanel
from tests.unit.sdk.portal import Queue, endpoint, error, portal, replica
from tests.unit.widgets.kit import click, customs, recorded


def a_version(number: int, **more: Any) -> dict[str, Any]:
    """A registered version."""
    return {"name": "digits", "version": number, "owner": "ana", "tags": {}, "metrics": {"loss": 0.1}, **more}


VERSIONS: dict[str, Any] = {
    "GET /api/v1/models/digits/versions": [a_version(2), a_version(1)],
    "GET /api/v1/me": {"name": "ana"},
}
ENDPOINT = "GET /api/v1/endpoints/digits"


def test_the_canary_panel_deploys_where_there_is_no_endpoint_yet() -> None:
    gone = error(404, "not_found", kind="endpoint", name="digits")
    routes = {
        **VERSIONS,
        ENDPOINT: Queue(gone, endpoint("starting", champion=replica(1, phase="starting"))),
        "POST /api/v1/endpoints": endpoint("starting"),
        "GET /api/v1/me": {"name": "ana", "teams": ["speech", "vision"]},
    }
    with portal(routes) as fake:
        panel = CanaryPanel("digits", language="en")
        click(panel, "tick")
        assert (panel.state["known"], panel.state["endpoint"], panel.state["versions"]) == (True, None, [2, 1])
        click(panel, "deploy", version="1")
        assert set(panel.state["wrong"]) == {"payer.team"}
        click(panel, "deploy", version="1", team="vision", project="cells")
        (body,) = [body for body in fake.bodies if body]
        assert (body["model"], body["version"], body["profile"]) == ("digits", 1, "cpu")
        assert (body["team"], body["project"]) == ("vision", "cells")
        champion = panel.state["endpoint"]["champion"]
        assert (champion["requests"], champion["latency_p95_ms"]) == (None, None)


@pytest.mark.parametrize(
    ("verb", "asked"), [("canary", "canary"), ("promote", "promote"), ("rollback", "rollback")]
)
def test_the_steps_of_a_rollout_reach_the_portal(verb: str, asked: str) -> None:
    both = endpoint(champion=replica(1, percent=90), canary=replica(2, "canary", percent=10))
    routes = {**VERSIONS, ENDPOINT: both, f"POST /api/v1/endpoints/digits/{asked}": both}
    with portal(routes) as fake:
        click(CanaryPanel("digits"), verb, version="2", percent="10")
        assert fake.paths("POST") == [f"/api/v1/endpoints/digits/{asked}"]
        if verb == "canary":
            (body,) = [body for body in fake.bodies if body]
            assert (body["version"], body["percent"]) == (2, 10)


@pytest.mark.parametrize("percent", ["", "0", "101", "ten", "1.5"])
def test_a_share_that_is_none_is_refused_with_a_sentence(percent: str) -> None:
    with portal({**VERSIONS, ENDPOINT: endpoint()}) as fake:
        panel = CanaryPanel("digits", language="en")
        click(panel, "canary", version="2", percent=percent)
        assert "whole number from 1 to 100" in panel.problem["message"]
        assert fake.paths("POST") == []


def test_requests_are_sent_in_small_batches_and_counted_by_who_answered() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"predictions": [3]}, headers={"x-dure-model-version": "2"})

    with portal({**VERSIONS, ENDPOINT: endpoint(), "POST /serve/digits/invocations": answer}) as fake:
        panel = CanaryPanel("digits", sample=[[1.0], [2.0], [3.0]], language="en")
        click(panel, "send", count=1000, first=True)
        assert panel.state["sent"] == {"2": 10}
        click(panel, "send", count=4, first=False)
        assert panel.state["sent"] == {"2": 14}
        rows = [body["inputs"] for body in fake.bodies if body]
        assert rows[:4] == [[[1.0]], [[2.0]], [[3.0]], [[1.0]]]
        click(panel, "send", count=1, first=True)
        assert panel.state["sent"] == {"2": 1}


def test_a_metric_that_is_no_number_hides_no_version() -> None:
    versions = [a_version(2, metrics={"loss": 0.1, "val_f1": None}), a_version(1)]
    with portal({**VERSIONS, ENDPOINT: endpoint(), "GET /api/v1/models/digits/versions": versions}):
        panel = CanaryPanel("digits")
        click(panel, "tick")
        assert (panel.problem, panel.state["versions"]) == (None, [2, 1])


def test_versions_that_cannot_be_had_leave_the_endpoint_and_the_old_versions() -> None:
    versions = Queue([a_version(1)], error(503, "not_ready", part="MLflow"))
    ready = endpoint(champion=replica(1))
    shown = Queue(endpoint("starting"), endpoint("starting"), endpoint("starting"), ready)
    with portal({**VERSIONS, ENDPOINT: shown, "GET /api/v1/models/digits/versions": versions}):
        panel = CanaryPanel("digits", language="en")
        for _ in range(4):
            click(panel, "tick")
        assert panel.problem is not None
        assert (panel.state["versions"], panel.state["endpoint"]["state"]) == ([1], "ready")


def test_a_look_that_fails_after_a_verb_that_worked_is_no_problem_of_that_verb() -> None:
    routes = {
        **VERSIONS,
        ENDPOINT: Queue(endpoint(), error(503, "not_ready", part="MLflow"), endpoint()),
        "POST /api/v1/endpoints/digits/promote": endpoint(),
    }
    with portal(routes), recorded() as sent:
        panel = CanaryPanel("digits", language="en")
        click(panel, "promote")
        assert customs(sent)[-1] == {"answered": "promote"}  # and not that it failed
        assert panel.problem["code"] == "not_ready"
        click(panel, "tick")
        assert panel.problem is None


def test_a_canary_is_a_version_of_the_model_that_is_served() -> None:
    served = endpoint(model="letters", owner="ben", champion=replica(1))
    routes = {**VERSIONS, ENDPOINT: served, "GET /api/v1/models/letters/versions": [a_version(7)]}
    with portal(routes) as fake:
        panel = CanaryPanel("digits")
        click(panel, "tick")
        assert panel.state["versions"] == [7]
        assert (panel.state["model"], panel.state["wanted"]) == ("letters", "digits")
        shown = panel.state["endpoint"]
        assert (shown["model"], shown["owner"], shown["mine"]) == ("letters", "ben", False)
        assert "/api/v1/models/digits/versions" not in fake.paths("GET")
        fake.routes["GET /api/v1/me"] = {"name": "root", "admin": True}
        other = CanaryPanel("digits")
        click(other, "tick")
        assert other.state["endpoint"]["mine"] is True


def test_a_failed_endpoint_is_ended() -> None:
    gone = error(404, "not_found", kind="endpoint", name="digits")
    routes = {**VERSIONS, ENDPOINT: Queue(endpoint("failed"), gone)}
    with portal(routes | {"DELETE /api/v1/endpoints/digits": httpx.Response(204)}) as fake:
        panel = CanaryPanel("digits")
        click(panel, "end")
        assert fake.paths("DELETE") == ["/api/v1/endpoints/digits"]
        assert panel.state["endpoint"] is None


@pytest.mark.parametrize("verb", ["deploy", "canary"])
def test_a_click_s_id_is_that_of_its_request_and_a_click_delivered_twice_is_one(verb: str) -> None:
    routes = {
        **VERSIONS,
        ENDPOINT: endpoint(),
        "POST /api/v1/endpoints": endpoint(),
        "POST /api/v1/endpoints/digits/canary": endpoint(),
    }
    with portal(routes) as fake:
        panel, key = CanaryPanel("digits"), new_id()
        for _ in range(2):
            click(panel, verb, version="2", percent="10", id=key)
        assert [body["id"] for body in fake.bodies if body] == [key]


class Frame:
    """What pandas gives, as far as the SDK looks: a frame that cannot be indexed by row."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = rows

    def to_numpy(self) -> list[list[float]]:
        """Its rows."""
        return self.rows


def test_a_frame_is_a_sample_and_an_empty_one_is_refused_at_once() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"predictions": [3]}, headers={"x-dure-model-version": "1"})

    with portal({**VERSIONS, ENDPOINT: endpoint(), "POST /serve/digits/invocations": answer}) as fake:
        panel = CanaryPanel("digits", sample=Frame([[1.0], [2.0]]))
        click(panel, "send", count=3, first=True)
        assert panel.state["sent"] == {"1": 3}
        assert [body["inputs"] for body in fake.bodies if body] == [[[1.0]], [[2.0]], [[1.0]]]
    nothing: Any
    for nothing in ([], Frame([]), 3):
        with pytest.raises(BadRequest, match="at least one row"):
            CanaryPanel("digits", sample=nothing)


def test_what_made_sending_fail_stays_until_the_next_click() -> None:
    refused = error(400, "bad_rows", value="[]", rule="it is empty")
    with portal({**VERSIONS, ENDPOINT: endpoint(), "POST /serve/digits/invocations": refused}) as fake:
        panel = CanaryPanel("digits", sample=[[1.0]])
        click(panel, "send", count=10, first=True)
        assert panel.state["sent"] == {"failed": 1}
        click(panel, "tick")
        assert panel.problem["code"] == "bad_rows"
        assert fake.paths("POST") == ["/serve/digits/invocations"]
