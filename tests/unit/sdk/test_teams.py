"""Whatever starts something can say which team and project pay for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import dure
from dure.cli import main
from tests.unit.sdk.portal import JOB, portal
from tests.unit.sdk.test_schedules import SCHEDULE
from tests.unit.sdk.test_training import Anything

PAYS: dict[str, Any] = {"team": "vision", "project": "segmentation"}
JOBS, SCHEDULES = "/api/v1/training/jobs", "/api/v1/schedules"


class Made(Exception):
    """Far enough: what was asked has been seen."""


def refuse(request: httpx.Request) -> httpx.Response:
    raise Made(request.content.decode())


@pytest.mark.parametrize(
    ("route", "start"),
    [
        ("POST /api/v1/environments", lambda: dure.environments.create(**PAYS)),
        ("POST /api/v1/endpoints", lambda: dure.endpoints.deploy("digits", "digits", 1, **PAYS)),
    ],
)
def test_servers_and_endpoints_are_charged_as_told(route: str, start: Any) -> None:
    with portal({route: refuse}), pytest.raises(Made) as made:
        start()
    body = json.loads(str(made.value))
    assert {key: body[key] for key in PAYS} == PAYS


@pytest.mark.parametrize("by_command", [False, True])
def test_jobs_and_schedules_are_charged_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_command: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("pass\n")
    (tmp_path / "work.ipynb").write_text("{}")
    routes = Anything({})
    routes[f"POST {JOBS}"] = httpx.Response(202, json=JOB)
    routes[f"POST {SCHEDULES}"] = httpx.Response(201, json=SCHEDULE)
    words = ["--team", "vision", "--project", "segmentation"]
    with portal(routes) as fake:
        if by_command:
            assert main(["train", "train.py", *words]) == 0
            assert main(["schedule", "work.ipynb", "--cron", "* * * * *", *words]) == 0
        else:
            dure.train("train.py", **PAYS)
            dure.schedules.create("work.ipynb", "* * * * *", **PAYS)
    bodies = [body for body in fake.bodies if isinstance(body, dict)]
    assert len(bodies) == 2
    for body in bodies:
        assert {key: body[key] for key in PAYS} == PAYS


def test_a_plan_is_asked_for_by_whom_it_would_be_charged_to() -> None:
    plan = {"profile": "cpu", "cpu_cores": 1, "memory_mb": 1, "max_lifetime_s": 1, "starts_now": True}
    with portal({"GET /api/v1/profiles/cpu/plan": plan}) as fake:
        dure.plan(**PAYS)
    assert dict(fake.asked[-1].url.params) == PAYS
