"""Registry, endpoints and the rest of the SDK's calls."""

from __future__ import annotations

from typing import Any

import httpx
import numpy
import pytest

import dure
from dure.client import Client, use
from dure.errors import BadAnswer, BadRequest
from dure.sdk_errors import BadRows, EndpointFailed, WaitedTooLong
from tests.unit.sdk.portal import JOB, URL, FakePortal, Queue, endpoint, error, portal, replica

PATH = "/api/v1/endpoints"
VERSION = {"name": "digits", "version": 2, "aliases": ["champion"], "tags": {}, "metrics": {"accuracy": 0.97}}


def test_a_job_is_registered_by_its_name() -> None:
    from dure.wire import Job as Seen

    with portal(
        {"POST /api/v1/models": httpx.Response(201, json=VERSION), "GET /api/v1/models": [VERSION]}
    ) as fake:
        job = dure.Job(Seen.model_validate(JOB), fake.client())
        assert dure.models.register("digits", job).version == 2
        assert dure.models.register("digits", "train-a1", tags={"why": "test"}).version == 2
        assert "champion" in repr(dure.models.list())
    assert [body["job"] for body in fake.bodies[:2]] == ["train-a1"] * 2


def test_deploy_waits_until_every_version_answers(capsys: pytest.CaptureFixture[str]) -> None:
    looks = Queue(
        endpoint("starting", champion=replica(1, phase="waiting")),
        endpoint("starting", champion=replica(1, phase="starting")),
        endpoint("ready", champion=replica(1)),
    )
    routes = {f"POST {PATH}": httpx.Response(202, json=endpoint("starting")), f"GET {PATH}/digits": looks}
    with portal(routes) as fake:
        deployed = dure.endpoints.deploy("digits", "digits", 1).wait()
    assert deployed.last_state == "ready"
    assert deployed.address == f"{URL}/serve/digits/invocations"
    assert fake.bodies[0]["version"] == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_portal_below_a_path_is_asked_there() -> None:
    answer = httpx.Response(200, json={"predictions": [7]})
    routes = {f"GET /dure{PATH}/digits": endpoint("ready"), "POST /dure/serve/digits/invocations": answer}
    use(Client(f"{URL}/dure/", "secret-token", transport=httpx.MockTransport(FakePortal(routes))))
    try:
        found = dure.endpoints.get("digits")
        assert found.address == f"{URL}/dure/serve/digits/invocations"
        assert found.predict([[1.0]]) == [7]
    finally:
        use(None)


def test_wait_raises_where_a_version_fails() -> None:
    broken = endpoint(
        "degraded", champion=replica(1), canary=replica(2, "canary", "failed", 10) | {"reason": "no model"}
    )
    with portal({f"GET {PATH}/digits": broken}), pytest.raises(EndpointFailed, match="no model"):
        dure.endpoints.get("digits").wait()
    with portal({f"GET {PATH}/digits": endpoint("starting")}), pytest.raises(WaitedTooLong, match="starting"):
        dure.endpoints.get("digits").wait(timeout=5)


@pytest.mark.parametrize("rows", [[[1.0, 2.0]], numpy.array([[1.0, 2.0]]), [numpy.array([1.0, 2.0])]])
def test_predictions_come_with_the_version_that_said_them(rows: Any) -> None:
    answer = httpx.Response(200, json={"predictions": [7]}, headers={"x-dure-model-version": "2"})
    with portal({f"GET {PATH}/digits": endpoint(), "POST /serve/digits/invocations": answer}) as fake:
        said = dure.endpoints.get("digits").predict(rows)
    assert said == [7]
    assert [*said] == [7]
    assert said.version == 2
    assert fake.bodies[-1] == {"inputs": [[1.0, 2.0]]}
    assert fake.asked[-1].headers["authorization"] == "Bearer secret-token"


def test_rows_of_a_generator_are_sent_and_rows_that_no_request_can_hold_are_refused() -> None:
    answer = httpx.Response(200, json={"predictions": [7]})
    with portal({f"GET {PATH}/digits": endpoint(), "POST /serve/digits/invocations": answer}) as fake:
        ours = dure.endpoints.get("digits")
        assert ours.predict([number, 2.0] for number in (1.0, 3.0)) == [7]
        assert fake.bodies[-1] == {"inputs": [[1.0, 2.0], [3.0, 2.0]]}
        with pytest.raises(BadRequest, match=r"inputs\[0\]\[1\] = nan"):
            ours.predict(numpy.array([[1.0, numpy.nan]]))
        with pytest.raises(BadRequest, match="datetime"):
            ours.predict(numpy.array([["2026-01-02"]], dtype="datetime64[s]"))


@pytest.mark.parametrize("text", ["<html></html>", "[1]", '{"other": 1}'])
def test_a_prediction_of_something_else_is_no_answer(text: str) -> None:
    routes = {f"GET {PATH}/digits": endpoint(), "POST /serve/digits/invocations": httpx.Response(200, text=text)}
    with portal(routes), pytest.raises(BadAnswer):
        dure.endpoints.get("digits").predict([[1.0]])


def test_a_korean_reader_is_told_in_korean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    bad = replica(2, "canary", "failed", 10) | {
        "reason": "no model",
        "reason_text": {"en": "x", "ko": "모델 없음"},
    }
    looks = Queue(endpoint("starting"), endpoint("degraded", champion=replica(1), canary=bad))
    with portal({f"GET {PATH}/digits": looks}), pytest.raises(EndpointFailed, match="모델 없음"):
        dure.endpoints.get("digits").wait()
    assert "챔피언 v1 100 % (준비됨), 카나리 v2 10 % (실패)" in capsys.readouterr().out
    with portal({f"GET {PATH}/digits": endpoint("starting")}):
        ours = dure.endpoints.get("digits")
        assert "시작 중" in repr(ours)
        assert "시작 중" in ours._repr_html_()
        with pytest.raises(WaitedTooLong, match=r"엔드포인트 digits.*아직 시작 중"):
            ours.wait(timeout=5)


def test_bad_rows_are_explained_by_the_model_server() -> None:
    refused = error(400, "bad_rows", value="shape [1, 2]", rule="every row has shape [64]", example="[[…]]")
    with portal({f"GET {PATH}/digits": endpoint(), "POST /serve/digits/invocations": refused}):
        ours = dure.endpoints.get("digits")
        with pytest.raises(BadRows, match=r"every row has shape \[64\]"):
            ours.predict([[1.0, 2.0]])


def test_canary_promote_rollback_and_delete() -> None:
    trial = endpoint(champion=replica(1, percent=90), canary=replica(2, "canary", percent=10))
    routes: dict[str, Any] = {f"GET {PATH}/digits": endpoint(champion=replica(1)), f"GET {PATH}": [trial]}
    routes |= {f"POST {PATH}/digits/{verb}": httpx.Response(202, json=trial) for verb in ("canary", "promote")}
    routes |= {f"POST {PATH}/digits/rollback": httpx.Response(202, json=endpoint(champion=replica(1)))}
    routes |= {f"DELETE {PATH}/digits": httpx.Response(204)}
    with portal(routes) as fake:
        ours = dure.endpoints.get("digits")
        assert "canary v2 10 %" in repr(ours.canary(2))
        assert fake.bodies[-1]["percent"] == 10
        with pytest.raises(BadRequest, match="percent"):
            ours.canary(2, percent=101)
        ours.promote()
        assert ours.rollback().status.canary is None
        assert ours.status.champion is not None
        ours.delete()
        assert "digits" in repr(dure.endpoints.list())
    assert fake.paths("DELETE") == [f"{PATH}/digits"]


def test_environments_profiles_and_who_asks() -> None:
    profile: dict[str, Any] = {
        "name": "cpu",
        "title": {"en": "CPU", "ko": "씨피유"},
        "description": {"en": "", "ko": ""},
    }
    profile |= {"cpu_cores": 0.5, "memory_mb": 2048, "default_lifetime_s": 1, "max_lifetime_s": 2}
    environment = {"name": "default", "owner": "ana", "profile": "cpu", "phase": "running"}
    routes = {
        "GET /api/v1/me": {"name": "ana"},
        "GET /api/v1/profiles": [profile],
        "GET /api/v1/environments": [environment],
        "GET /api/v1/environments/default": environment,
        "POST /api/v1/environments": httpx.Response(202, json=environment),
        "DELETE /api/v1/environments/default": httpx.Response(204),
    }
    with portal(routes):
        assert dure.whoami().name == "ana"
        assert "unknown" in repr(dure.profiles()), "what is free is unknown, not zero"
        assert dure.environments.create("cpu").phase == "running"
        assert dure.environments.get().owner == "ana"
        assert len(dure.environments.list()) == 1
        dure.environments.stop()
