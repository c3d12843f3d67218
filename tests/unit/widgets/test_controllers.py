"""What clicks lead to: the SDK's requests to a portal that answers as told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dure_widgets import CanaryPanel, JobMonitor, ModelRegistry, TrainingLauncher, own_name
from tests.unit.sdk.portal import FakePortal, Queue, endpoint, error, job, portal, replica
from tests.unit.widgets.kit import click, customs, recorded

RUN = "a" * 32
PROFILE = {
    "name": "cpu",
    "title": {"en": "CPU", "ko": "CPU"},
    "description": {"en": "", "ko": ""},
    "cpu_cores": 0.5,
    "memory_mb": 2048,
    "default_lifetime_s": 3600,
    "max_lifetime_s": 7200,
}
PLAN = {"profile": "cpu", "cpu_cores": 0.5, "memory_mb": 2048, "max_lifetime_s": 7200, "starts_now": True}


def train(ctx: Any, epochs: int = 20, lr: float = 0.01, note: str = "") -> None:
    """Something to launch."""


def a_version(number: int, job_name: str = "train-a1", **more: Any) -> dict[str, Any]:
    """A registered version."""
    tags = {"dure.job": job_name, "dure.snapshot": "5" * 64, "dure.gpu": ""}
    return {"name": "digits", "version": number, "owner": "ana", "tags": tags, "metrics": {"loss": 0.1}, **more}


class Launching(FakePortal):
    """A portal that takes every snapshot and starts every job."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path.startswith("/api/v1/snapshots/"):
            self.asked.append(request)
            self.bodies.append(None)
            return httpx.Response(200)
        return super().__call__(request)


@pytest.fixture
def launching() -> Iterator[Launching]:
    """The SDK speaks to it."""
    from dure.client import use

    fake = Launching(
        {
            "GET /api/v1/profiles": [PROFILE],
            "GET /api/v1/profiles/cpu/plan": PLAN,
            "POST /api/v1/training/jobs": lambda r: httpx.Response(202, json=job("queued", name="train-b2")),
        }
    )
    use(fake.client())
    try:
        yield fake
    finally:
        use(None)


def fill(**parameters: Any) -> dict[str, Any]:
    """The form as the browser sends it."""
    return {"profile": "cpu", "processes": "", "name": "", "parameters": parameters, "more": []}


def test_the_launcher_shows_profiles_and_the_plan_and_unknown_stays_null(launching: Launching) -> None:
    launcher = TrainingLauncher(train, language="en")
    assert [one["name"] for one in launcher.state["fields"]] == ["epochs", "lr", "note"]
    click(launcher, "tick", profile="cpu")
    assert launcher.state["profiles"][0]["rate"] is None
    assert launcher.state["profiles"][0]["free"] is None
    assert launcher.state["plan"]["starts_now"] is True
    assert launcher.state["plan"]["rate"] is None


def test_a_plan_that_cannot_be_made_shows_as_unknown_and_the_form_works(launching: Launching) -> None:
    launching.routes["GET /api/v1/profiles/cpu/plan"] = error(404, "not_found", kind="profile", name="cpu")
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "tick", profile="cpu")
    assert launcher.state["plan"] is None
    assert launcher.state["profiles"]
    assert launcher.problem is None


def test_launching_sends_the_values_as_their_kinds(launching: Launching) -> None:
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "launch", **fill(epochs="30", lr="1e-3", note="warm"))
    sent = launching.bodies[-1]
    assert sent["parameters"] == {"epochs": 30, "lr": 0.001, "note": "warm"}
    assert sent["processes"] is None
    assert sent["entry"] == "entry.py:train"
    assert launcher.job.name == "train-b2"
    assert launcher.state["launched"] == {"name": "train-b2"}


def test_bad_values_are_refused_at_their_fields_and_nothing_is_sent(launching: Launching) -> None:
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "launch", **fill(epochs="1.5", lr="", note="") | {"processes": "0", "name": "Not A Name"})
    wrong = launcher.state["wrong"]
    assert set(wrong) == {"epochs", "lr", "processes", "name"}
    assert "epochs = '1.5' is not accepted: it is a whole number" in wrong["epochs"]
    assert launcher.problem is None
    assert launching.asked == []
    assert launcher.job is None


def test_a_file_takes_free_values_and_each_name_once(
    launching: Launching, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("print('trained')\n")
    monkeypatch.chdir(tmp_path)
    launcher = TrainingLauncher("train.py", language="en")
    click(launcher, "launch", **fill() | {"more": [["epochs", "3"], ["epochs", "4"], ["a b", "1"], ["", ""]]})
    assert set(launcher.state["wrong"]) == {"more.1", "more.2"}
    click(launcher, "launch", **fill() | {"more": [["epochs", "3"], ["name", "x"], ["", ""]]})
    assert launching.bodies[-1]["parameters"] == {"epochs": 3, "name": "x"}


def test_a_function_that_needs_its_notebook_is_a_problem_with_a_next_step(launching: Launching) -> None:
    def outside() -> None:
        click(launcher, "x")

    launcher = TrainingLauncher(outside, language="en")
    click(launcher, "launch", **fill())
    assert launcher.problem["code"] == "not_self_contained"
    assert "parameters={" in launcher.problem["next_step"]


def history(*values: float) -> dict[str, Any]:
    """MLflow's answer for one metric."""
    return {"metrics": [{"key": "loss", "step": step, "value": value} for step, value in enumerate(values)]}


def run(step: int, value: float) -> dict[str, Any]:
    """MLflow's answer for a run."""
    return {"run": {"data": {"metrics": [{"key": "loss", "step": step, "value": value}]}}}


MLFLOW = "GET /services/mlflow/api/2.0/mlflow/"
JOB_PATH = "GET /api/v1/training/jobs/train-a1"


def page(text: str, at: int, done: bool = False) -> dict[str, Any]:
    """A piece of a log."""
    return {"text": text, "offset": at, "next_offset": at + len(text.encode()), "done": done}


def test_the_monitor_sends_each_point_and_line_once_and_then_rests() -> None:
    log = {0: page("one\n", 0), 4: page("two\n", 4), 8: page("", 8)}

    def read_log(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        return httpx.Response(200, json=log[offset])

    routes = {
        JOB_PATH: Queue(job("running", run_id=RUN, parameters={"epochs": 4}), job("succeeded", run_id=RUN)),
        f"{JOB_PATH}/logs": read_log,
        f"{MLFLOW}runs/get": Queue(run(1, 0.5), run(2, 0.25)),
        f"{MLFLOW}metrics/get-history": Queue(history(1.0, 0.5), history(1.0, 0.5, float("0.25"))),
    }
    with portal(routes) as fake, recorded() as sent:
        monitor = JobMonitor("train-a1", language="en")
        click(monitor, "tick", job=None, log=0, have={})
        (news,) = [message["news"] for message in customs(sent) if "news" in message]
        assert news["points"] == {"loss": {"from": 0, "rows": [[0, 1.0], [1, 0.5]]}}
        assert news["log"] == {"from": 0, "next": 8, "text": "one\ntwo\n"}
        assert monitor.state["progress"] == {"step": 2, "of": 4, "unit": "epochs"}
        assert monitor.state["over"] is False

        log[8] = page("", 8, done=True)
        click(monitor, "tick", job="train-a1", log=8, have={"loss": 2})
        news = [message["news"] for message in customs(sent) if "news" in message][-1]
        assert news == {"job": "train-a1", "points": {"loss": {"from": 2, "rows": [[2, 0.25]]}}}

        click(monitor, "tick", job="train-a1", log=8, have={"loss": 3})
        assert monitor.state["over"] is True
        assert monitor.job.last_state == "succeeded"
        histories = [path for path in fake.paths("GET") if path.endswith("get-history")]
        assert len(histories) == 2  # asked only where the last point changed


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


def test_a_monitor_follows_whatever_its_launcher_launches_and_a_registry_the_monitor(
    launching: Launching,
) -> None:
    launcher = TrainingLauncher(train)
    monitor = JobMonitor(launcher)
    registry = ModelRegistry("digits", job=monitor)
    assert (monitor.state["name"], registry.state["job"]) == (None, None)
    click(launcher, "launch", **fill(epochs="1", lr="1", note=""))
    assert monitor.state["name"] == "train-b2"
    assert registry.state["job"] == {"name": "train-b2", "state": "queued", "version": None}


def test_a_look_asks_once_and_does_not_hold_the_kernel_while_the_portal_is_away() -> None:
    with portal({JOB_PATH: httpx.ConnectError("away")}) as fake:
        monitor = JobMonitor("train-a1", language="en")
        click(monitor, "tick")
        assert len(fake.asked) == 1
        assert fake.time == 0
        assert monitor.problem["code"] == "portal_unreachable"


def test_registering_shows_the_new_version_with_its_lineage() -> None:
    routes = {
        JOB_PATH: job("succeeded"),
        "GET /api/v1/models/digits/versions": Queue(
            error(404, "not_found", kind="model", name="digits"), [a_version(1)]
        ),
        "POST /api/v1/models": a_version(1),
    }
    with portal(routes) as fake:
        registry = ModelRegistry("digits", job="train-a1", language="en")
        click(registry, "tick")
        assert registry.state["versions"] == []
        assert registry.state["job"] == {"name": "train-a1", "state": "succeeded", "version": None}
        click(registry, "register", name="digits")
        (body,) = [body for body in fake.bodies if body]
        assert body == {"name": "digits", "job": "train-a1", "tags": {}}
        assert registry.state["versions"][0]["lineage"] == {"job": "train-a1", "snapshot": "5" * 64}
        assert registry.state["job"]["version"] == 1
        assert registry.state["done"] == {"registered": 1}


def test_an_alias_is_set_on_the_chosen_version() -> None:
    routes = {
        "PUT /api/v1/models/digits/aliases/best": a_version(1),
        "GET /api/v1/models/digits/versions": [a_version(1, aliases=["best"])],
    }
    with portal(routes) as fake:
        registry = ModelRegistry("digits", language="en")
        click(registry, "alias", alias="best", version="1")
        assert fake.bodies[0] == {"version": 1}
        assert registry.state["versions"][0]["aliases"] == ["best"]
        click(registry, "alias", alias=" ", version="1")
        assert registry.problem["code"] == "bad_request"


VERSIONS = {"GET /api/v1/models/digits/versions": [a_version(2), a_version(1)]}
ENDPOINT = "GET /api/v1/endpoints/digits"


def test_the_canary_panel_deploys_where_there_is_no_endpoint_yet() -> None:
    gone = error(404, "not_found", kind="endpoint", name="digits")
    routes = {
        **VERSIONS,
        ENDPOINT: Queue(gone, endpoint("starting", champion=replica(1, phase="starting"))),
        "POST /api/v1/endpoints": endpoint("starting"),
    }
    with portal(routes) as fake:
        panel = CanaryPanel("digits", language="en")
        click(panel, "tick")
        assert (panel.state["known"], panel.state["endpoint"], panel.state["versions"]) == (True, None, [2, 1])
        click(panel, "deploy", version="1")
        (body,) = [body for body in fake.bodies if body]
        assert (body["model"], body["version"], body["profile"]) == ("digits", 1, "cpu")
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


def test_ones_own_name_fits_and_is_the_base_alone_without_a_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    with portal({"GET /api/v1/me": {"name": "Ana.Maria_de-la-Cruz-Gonzalez"}}):
        assert own_name("digits") == "digits-ana-maria-de-la-cruz-go"
    for name in ("DURE_URL", "DURE_TOKEN", "DURE_TOKEN_FILE", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert own_name("digits") == "digits"
