"""What clicks lead to: the SDK's requests to a portal that answers as told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dure.errors import BadRequest
from dure.wire.ids import new_id
from dure_widgets import JobMonitor, ModelRegistry, TrainingLauncher, own_name
from tests.unit.sdk.portal import FakePortal, Queue, error, job, portal
from tests.unit.widgets.kit import click

JOB_PATH = "GET /api/v1/training/jobs/train-a1"
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
            "GET /api/v1/me": {"name": "ana", "teams": ["vision"]},
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


def test_what_nobody_touched_is_left_to_the_entry_and_the_monitor_still_knows_the_length(
    launching: Launching,
) -> None:
    launcher = TrainingLauncher(train, language="en")
    key = new_id()
    click(launcher, "launch", **fill(), id=key)
    assert (launching.bodies[-1]["parameters"], launching.bodies[-1]["id"]) == ({}, key)
    assert launcher.defaults["epochs"] == 20
    click(launcher, "launch", **fill(), id=key)
    assert launching.paths("POST") == ["/api/v1/training/jobs"]  # a click delivered twice


def test_bad_values_are_refused_at_their_fields_and_nothing_is_sent(launching: Launching) -> None:
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "launch", **fill(epochs="1.5", lr="", note="") | {"processes": "0", "name": "Not A Name"})
    wrong = launcher.state["wrong"]
    assert set(wrong) == {"epochs", "lr", "processes", "name"}
    assert "epochs = '1.5' is not accepted: it is a whole number" in wrong["epochs"]
    assert launcher.problem is None
    assert launching.asked == []
    assert launcher.job is None


def test_who_is_in_several_teams_says_which_one_pays(launching: Launching) -> None:
    launching.routes["GET /api/v1/me"] = {"name": "ana", "teams": ["speech", "vision"]}
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "tick", profile="cpu")
    assert launcher.state["payer"] == {"name": "ana", "teams": ["speech", "vision"], "team": None}
    click(launcher, "launch", **fill(), team="", project="No Name")
    assert set(launcher.state["wrong"]) == {"payer.team", "payer.project"}
    assert "choose the one that pays" in launcher.state["wrong"]["payer.team"]
    assert launching.paths("POST") == []
    click(launcher, "plan", profile="cpu", team="vision", project="cells")
    assert launching.asked[-1].url.query == b"team=vision&project=cells"
    assert launching.paths("GET").count("/api/v1/me") == 1
    click(launcher, "launch", **fill(), team="vision", project="cells")
    assert (launching.bodies[-1]["team"], launching.bodies[-1]["project"]) == ("vision", "cells")


@pytest.mark.parametrize("seen", [{"teams": ["vision"]}, {"teams": ["speech", "vision"], "team": "vision"}])
def test_who_says_nothing_leaves_it_to_the_portal(launching: Launching, seen: dict[str, Any]) -> None:
    launching.routes["GET /api/v1/me"] = {"name": "ana", **seen}
    launcher = TrainingLauncher(train, language="en")
    click(launcher, "tick", profile="cpu")
    click(launcher, "launch", **fill())
    assert (launching.bodies[-1]["team"], launching.bodies[-1]["project"]) == (None, None)


def test_a_team_that_was_left_meanwhile_is_said_at_its_field_and_the_teams_are_asked_anew(
    launching: Launching,
) -> None:
    launching.routes["GET /api/v1/me"] = Queue(
        {"name": "ana", "teams": ["speech", "vision"]}, {"name": "ana", "teams": ["speech"]}
    )
    launching.routes["POST /api/v1/training/jobs"] = error(403, "not_your_team", team="vision", teams="speech")
    launcher = TrainingLauncher(train, team="vision", language="en")
    assert launcher.state["chosen"]["payer"] == {"team": "vision"}
    click(launcher, "tick", profile="cpu")
    click(launcher, "launch", **fill(), team="vision")
    assert set(launcher.state["wrong"]) == {"payer.team"}
    assert launcher.job is None
    click(launcher, "tick", profile="cpu")
    assert launcher.state["payer"]["teams"] == ["speech"]


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


def test_values_to_begin_with_stay_what_they_were_and_a_refused_free_one_marks_its_row(
    launching: Launching, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("print('trained')\n")
    monkeypatch.chdir(tmp_path)
    launcher = TrainingLauncher("train.py", parameters={"tag": "7", "note": None, "long": "x"}, language="en")
    assert launcher.state["chosen"]["parameters"] == {"tag": "7", "note": "", "long": "x"}
    rows = [["tag", "7"], ["note", ""], ["long", "x"]]
    click(launcher, "launch", **fill() | {"more": rows})
    assert launching.bodies[-1]["parameters"] == {"tag": "7", "note": None, "long": "x"}
    click(launcher, "launch", **fill() | {"more": [["", ""], ["tag", "8"], ["long", "x" * 6000]]})
    assert set(launcher.state["wrong"]) == {"more.2"}


def test_a_value_to_begin_with_that_the_entry_cannot_take_is_refused(launching: Launching) -> None:
    with pytest.raises(BadRequest, match="epoch is not accepted: train takes epochs, lr, note"):
        TrainingLauncher(train, parameters={"epoch": 3})


def test_a_function_that_needs_its_notebook_is_a_problem_with_a_next_step(launching: Launching) -> None:
    def outside() -> None:
        click(launcher, "x")

    launcher = TrainingLauncher(outside, language="en")
    click(launcher, "launch", **fill())
    assert launcher.problem["code"] == "not_self_contained"
    assert "parameters={" in launcher.problem["next_step"]


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


def test_a_registry_knows_the_job_of_a_monitor_that_was_never_on_screen() -> None:
    routes = {"GET /api/v1/models/digits/versions": [], JOB_PATH: job("succeeded")}
    with portal(routes):
        registry = ModelRegistry("digits", job=JobMonitor("train-a1"))
        click(registry, "tick")
        assert registry.state["job"] == {"name": "train-a1", "state": "succeeded", "version": None}


@pytest.mark.parametrize("nothing", [3, ModelRegistry("digits", bind=False)])
def test_what_stands_for_no_job_is_refused_with_a_sentence(nothing: Any) -> None:
    with pytest.raises(BadRequest, match="a job, the name of one, or a widget"):
        JobMonitor(nothing)


def test_ones_own_name_fits_and_is_the_base_alone_without_a_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    with portal({"GET /api/v1/me": {"name": "Ana.Maria_de-la-Cruz-Gonzalez"}}):
        assert own_name("digits") == "digits-ana-maria-de-la-cruz-go"
    for name in ("DURE_URL", "DURE_TOKEN", "DURE_TOKEN_FILE", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert own_name("digits") == "digits"
