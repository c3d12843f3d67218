"""What a monitor asks the portal and MLflow for, and what of it is sent to its views."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from dure_widgets import JobMonitor
from dure_widgets.controllers.job_monitor import tidied
from tests.unit.sdk.portal import Queue, job, portal
from tests.unit.widgets.kit import click, customs, recorded

RUN = "a" * 32


def history(*values: float) -> dict[str, Any]:
    """MLflow's answer for one metric."""
    return {"metrics": [{"key": "loss", "step": step, "value": value} for step, value in enumerate(values)]}


def course(*points: tuple[int, Any], shown: list[int] | None = None) -> Any:
    """MLflow's answers for one metric by page; `shown` is how many points it has at each question."""

    def answer(request: httpx.Request) -> httpx.Response:
        token = request.url.params.get("page_token")
        start = json.loads(base64.b64decode(token))["offset"] if token else 0
        most = int(request.url.params["max_results"])
        until = len(points) if not shown else shown.pop(0)
        page = points[start:until][:most]
        return httpx.Response(200, json={"metrics": [{"key": "loss", "step": s, "value": v} for s, v in page]})

    return answer


def run(step: int, value: float | str) -> dict[str, Any]:
    """MLflow's answer for a run."""
    return {"run": {"data": {"metrics": [{"key": "loss", "step": step, "value": value}]}}}


MLFLOW = "GET /services/mlflow/api/2.0/mlflow/"
JOB_PATH = "GET /api/v1/training/jobs/train-a1"


def page(text: str, at: int, done: bool = False) -> dict[str, Any]:
    """A piece of a log."""
    return {"text": text, "offset": at, "next_offset": at + len(text.encode()), "done": done}


def test_the_monitor_sends_each_point_and_line_once_and_then_rests() -> None:
    log = {-65536: page("one\n", 0), 4: page("two\n", 4), 8: page("", 8)}

    def read_log(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        return httpx.Response(200, json=log[offset])

    routes = {
        JOB_PATH: Queue(job("running", run_id=RUN, parameters={"epochs": 4}), job("succeeded", run_id=RUN)),
        f"{JOB_PATH}/logs": read_log,
        f"{MLFLOW}runs/get": Queue(run(1, 0.5), run(2, 0.25)),
        f"{MLFLOW}metrics/get-history": course((0, 1.0), (1, 0.5), (2, 0.25), shown=[2, 3]),
    }
    with portal(routes) as fake, recorded() as sent:
        monitor = JobMonitor("train-a1", language="en")
        click(monitor, "tick", job=None, log=0, have={})
        (news,) = [message["news"] for message in customs(sent) if "news" in message]
        assert news["points"] == {"loss": {"from": 0, "next": 2, "rows": [[0, 1.0], [1, 0.5]]}}
        assert news["metrics"] == {"all": [["loss", 0.5]], "count": 1, "on": ["loss"]}
        assert news["log"] == {"from": 0, "next": 8, "text": "one\ntwo\n"}
        assert monitor.state["progress"] == {"step": 2, "of": 4, "unit": "epochs"}
        assert monitor.state["over"] is False

        log[8] = page("", 8, done=True)
        click(monitor, "tick", job="train-a1", log=8, have={"loss": 2}, names=True)
        news = [message["news"] for message in customs(sent) if "news" in message][-1]
        assert news == {
            "job": "train-a1",
            "metrics": {"all": [["loss", 0.25]], "count": 1, "on": ["loss"]},
            "points": {"loss": {"from": 2, "next": 3, "rows": [[2, 0.25]]}},
        }
        assert monitor.state["over"] is True
        assert monitor.job.last_state == "succeeded"
        click(monitor, "tick", job="train-a1", log=8, have={"loss": 3}, names=True)
        asked = [one for one in fake.asked if one.url.path.endswith("get-history")]
        assert len(asked) == 2  # asked only where something is new
        assert "page_token" not in asked[0].url.params
        assert base64.b64decode(asked[1].url.params["page_token"]) == b'{"offset": 2}'  # and only for what is


def test_points_that_are_not_finite_are_gaps() -> None:
    values = history(1.0)
    values["metrics"].append({"key": "loss", "step": 1, "value": "NaN"})
    routes = {
        JOB_PATH: job("running", run_id=RUN),
        f"{JOB_PATH}/logs": page("", 0),
        f"{MLFLOW}runs/get": run(1, 0.5),
        f"{MLFLOW}metrics/get-history": values,
    }
    with portal(routes), recorded() as sent:
        click(JobMonitor("train-a1"), "tick")
    (news,) = [message["news"] for message in customs(sent) if "news" in message]
    assert news["points"]["loss"]["rows"] == [[0, 1.0], [1, None]]


def test_a_last_value_that_is_not_a_number_lets_the_monitor_rest() -> None:
    routes = {
        JOB_PATH: job("succeeded", run_id=RUN),
        f"{JOB_PATH}/logs": page("", 0, done=True),
        f"{MLFLOW}runs/get": run(1, "NaN"),
        f"{MLFLOW}metrics/get-history": course((0, 1.0), (1, "NaN")),
    }
    with portal(routes) as fake:
        monitor = JobMonitor("train-a1")
        for has in (0, 2, 2):
            click(monitor, "tick", job="train-a1", have={"loss": has}, names=True, log=0)
        assert monitor.state["over"] is True
        assert len([path for path in fake.paths("GET") if path.endswith("get-history")]) == 1


def test_of_many_metrics_losses_and_shares_come_first_and_only_drawn_ones_are_read() -> None:
    names = [f"a{number:03}" for number in range(199)] + ["val_loss", "accuracy"]
    answer = {"run": {"data": {"metrics": [{"key": name, "step": 1, "value": 0.5} for name in names]}}}
    routes = {
        JOB_PATH: job("running", run_id=RUN),
        f"{JOB_PATH}/logs": page("", 0),
        f"{MLFLOW}runs/get": answer,
        f"{MLFLOW}metrics/get-history": course((1, 0.5)),
    }
    with portal(routes) as fake, recorded() as sent:
        monitor = JobMonitor("train-a1")
        click(monitor, "tick")
        click(monitor, "tick", job="train-a1", names=True, on=["a150"])
        (first, second) = [message["news"] for message in customs(sent) if "news" in message]
        assert [name for name, _ in first["metrics"]["all"]][:3] == ["val_loss", "accuracy", "a000"]
        assert (first["metrics"]["count"], first["metrics"]["on"]) == (201, ["val_loss", "accuracy"])
        assert set(second["points"]) == {"a150"}
        read = [one.url.params["metric_key"] for one in fake.asked if one.url.path.endswith("get-history")]
        assert read == ["val_loss", "accuracy", "a150"]


def test_a_long_course_reaches_a_view_thinned_and_with_its_extremes() -> None:
    points = [(step, 99.0 if step == 12345 else 0.0) for step in range(30_000)]
    routes = {
        JOB_PATH: job("running", run_id=RUN),
        f"{JOB_PATH}/logs": page("", 0),
        f"{MLFLOW}runs/get": run(29_999, 0.0),
        f"{MLFLOW}metrics/get-history": course(*points),
    }
    with portal(routes) as fake, recorded() as sent:
        click(JobMonitor("train-a1"), "tick")
        (news,) = [message["news"] for message in customs(sent) if "news" in message]
        piece = news["points"]["loss"]
        assert (piece["from"], piece["next"]) == (0, 20_000)  # the next look reads on
        assert len(piece["rows"]) <= 2001
        assert [12345, 99.0] in piece["rows"]
        assert len([one for one in fake.asked if one.url.path.endswith("get-history")]) == 4


@pytest.mark.parametrize(
    ("parameters", "progress"),
    [
        ({"epochs": 3, "max_steps": 200}, {"step": 101, "of": 200, "unit": "steps"}),
        ({"epochs": 3}, {"step": 101, "of": None, "unit": ""}),
        ({"epochs": 101}, {"step": 101, "of": 101, "unit": "epochs"}),
    ],
)
def test_steps_past_a_length_are_counted_in_something_else(parameters: Any, progress: Any) -> None:
    routes = {
        JOB_PATH: job("running", run_id=RUN, parameters=parameters),
        f"{JOB_PATH}/logs": page("", 0),
        f"{MLFLOW}runs/get": run(100, 0.5),
        f"{MLFLOW}metrics/get-history": course((0, 1.0), (100, 0.5)),
    }
    with portal(routes):
        monitor = JobMonitor("train-a1")
        click(monitor, "tick")
        assert monitor.state["progress"] == progress


def test_a_log_begins_near_its_end_at_a_whole_line() -> None:
    def read_log(request: httpx.Request) -> httpx.Response:
        assert request.url.params["offset"] == "-65536"
        return httpx.Response(200, json=page("half a line\nwhole\u2028line\n", 1000, done=True))

    with portal({JOB_PATH: job("succeeded"), f"{JOB_PATH}/logs": read_log}), recorded() as sent:
        click(JobMonitor("train-a1"), "tick")
    (news,) = [message["news"] for message in customs(sent) if "news" in message]
    assert (news["log"]["from"], news["log"]["text"]) == (0, "whole\u2028line\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n10%\r20%\r\nend\r\n", "a\n20%\nend\n"),
        ("\r40%\r50%", "\r50%"),  # wipes what the view has of this line
        ("a\n60%\r", "a\n60%\r"),  # is wiped by what comes next
        ("x" * 9000 + "\n", "x" * 2000 + "\n"),
    ],
)
def test_a_line_of_a_log_is_what_a_terminal_shows(text: str, shown: str) -> None:
    assert tidied(text) == shown


def test_a_long_log_is_sent_by_its_end() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    routes = {JOB_PATH: job("succeeded"), f"{JOB_PATH}/logs": page(text, 0, done=True)}
    with portal(routes), recorded() as sent:
        click(JobMonitor("train-a1"), "tick")
    (news,) = [message["news"] for message in customs(sent) if "news" in message]
    assert news["log"]["text"].splitlines() == [f"line {number}" for number in range(800, 1000)]
    assert news["log"]["next"] == len(text)


def test_stop_asks_for_it_and_says_so() -> None:
    routes = {
        JOB_PATH: job("running"),
        f"{JOB_PATH}/logs": page("", 0),
        JOB_PATH.replace("GET", "DELETE"): httpx.Response(204),
    }
    with portal(routes) as fake:
        monitor = JobMonitor("train-a1")
        click(monitor, "stop")
        assert fake.paths("DELETE") == ["/api/v1/training/jobs/train-a1"]
        assert monitor.state["stopping"] is True


def test_a_look_asks_once_and_does_not_hold_the_kernel_while_the_portal_is_away() -> None:
    with portal({JOB_PATH: httpx.ConnectError("away")}) as fake:
        monitor = JobMonitor("train-a1", language="en")
        click(monitor, "tick")
        assert len(fake.asked) == 1
        assert fake.time == 0
        assert monitor.problem["code"] == "portal_unreachable"
