"""What is sent again and what is not, and how errors arrive."""

from __future__ import annotations

import datetime
import gc
import pickle
from pathlib import Path
from typing import Any

import httpx
import pytest

import dure
from dure.client import Client, client, use
from dure.errors import (
    BadAnswer,
    BadRequest,
    Conflict,
    DureError,
    NotFound,
    NotReady,
    PortalUnreachable,
    RemoteError,
)
from dure.sdk_errors import NeedsTorch, NoPortal, NoToken, TokenFileMissing, WaitedTooLong
from tests.unit.sdk.portal import URL, FakePortal, Queue, error

REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.ReadError("reset")
AWAY = httpx.Response(503, text="upstream connect error")


def test_every_request_carries_the_token_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    portal = FakePortal({"GET /api/v1/me": {}})
    portal.client().get("/me")
    assert portal.asked[0].headers["authorization"] == "Bearer secret-token"
    assert portal.asked[0].headers["accept-language"] == "ko"


@pytest.mark.parametrize("problem", [REFUSED, BROKEN, AWAY, error(503, "not_ready", part="MLflow")])
def test_a_read_outlives_a_restart(problem: httpx.Response | Exception) -> None:
    portal = FakePortal({"GET /api/v1/me": Queue(problem, problem, problem, {"name": "ana"})})
    assert portal.client().get("/me") == {"name": "ana"}
    assert 0 < portal.time < 20


def test_a_request_with_an_id_is_sent_again_as_the_same_request() -> None:
    portal = FakePortal({"POST /api/v1/environments": Queue(BROKEN, AWAY, {"ok": True})})
    assert portal.client().post("/environments", {"id": "x"}, repeatable=True) == {"ok": True}
    assert portal.bodies == [{"id": "x"}] * 3


def test_a_request_without_an_id_is_sent_once_unless_nobody_can_have_seen_it() -> None:
    portal = FakePortal({"POST /api/v1/endpoints/a/promote": Queue(BROKEN, {"ok": True})})
    with pytest.raises(PortalUnreachable):
        portal.client().post("/endpoints/a/promote")
    portal = FakePortal({"POST /api/v1/endpoints/a/promote": Queue(AWAY, {"ok": True})})
    with pytest.raises(PortalUnreachable):
        portal.client().post("/endpoints/a/promote")
    portal = FakePortal({"POST /api/v1/endpoints/a/promote": Queue(REFUSED, REFUSED, {"ok": True})})
    assert portal.client().post("/endpoints/a/promote") == {"ok": True}


def test_patience_ends_with_the_address_in_the_sentence() -> None:
    portal = FakePortal({"GET /api/v1/me": REFUSED})
    with pytest.raises(PortalUnreachable, match=URL):
        portal.client().get("/me")
    assert 15 < portal.time <= 20


def test_a_part_that_stays_away_keeps_its_own_error() -> None:
    portal = FakePortal({"GET /api/v1/me": error(503, "not_ready", part="MLflow")})
    with pytest.raises(NotReady, match="MLflow"):
        portal.client().get("/me")


def test_errors_come_back_as_their_own_kind() -> None:
    routes = {
        "GET /api/v1/known": error(404, "not_found", kind="job", name="x"),
        "GET /api/v1/newer": error(409, "of_tomorrow", a=1),
        "GET /api/v1/other": httpx.Response(404, text="<html>nginx</html>"),
        "GET /api/v1/moved": httpx.Response(302, headers={"location": "/hub/login"}),
    }
    ours = FakePortal(routes).client()
    with pytest.raises(NotFound, match="no job named x"):
        ours.get("/known")
    with pytest.raises(RemoteError, match="message of of_tomorrow do this"):
        ours.get("/newer")
    for path in ("/other", "/moved"):
        with pytest.raises(BadAnswer):
            ours.get(path)


def test_an_upload_starts_over_from_its_first_byte(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.zip"
    file.write_bytes(b"zip" * 1000)
    portal = FakePortal({"PUT /api/v1/snapshots/a": Queue(BROKEN, httpx.Response(204))})
    portal.client().put_file("/snapshots/a", file)
    assert portal.bodies == [b"zip" * 1000] * 2


def test_what_is_missing_in_the_environment_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DURE_URL", "DURE_TOKEN", "DURE_TOKEN_FILE", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    use(None)
    with pytest.raises(NoPortal, match="DURE_URL"):
        client()
    monkeypatch.setenv("DURE_URL", URL + "/")
    with pytest.raises(NoToken, match="DURE_TOKEN_FILE"):
        client()
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-the-server")
    assert (client().url, client().token) == (URL, "of-the-server")
    monkeypatch.setenv("DURE_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(TokenFileMissing, match="cannot be read"):
        client()
    (tmp_path / "token").write_text("of-the-file\n")
    assert client().token == "of-the-file"
    monkeypatch.setenv("DURE_TOKEN", "of-the-variable")
    assert client().token == "of-the-variable"
    assert client() is client()
    use(None)


def test_a_token_is_in_no_message() -> None:
    portal = FakePortal({"GET /api/v1/me": REFUSED})
    with pytest.raises(DureError) as problem:
        portal.client().get("/me")
    assert "secret-token" not in f"{problem.value} {problem.value.to_wire()} {problem.value.__cause__}"


def test_errors_speak_korean_to_a_korean_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko_KR.UTF-8")
    assert "설정되지" in str(NoPortal())
    assert isinstance(Client(URL, "t"), Client)


@pytest.mark.parametrize(
    "url", ["portal.test:8000", "127.0.0.1:8000", "//portal.test", "ftp://portal.test", "http://"]
)
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadRequest, match="http://") as problem:
        Client(url, "t")
    assert "브라우저" in problem.value.text("ko")
    assert url in str(problem.value)


def test_a_token_that_cannot_be_one_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DURE_TOKEN", raising=False)
    monkeypatch.setenv("DURE_TOKEN_FILE", str(tmp_path / "token"))
    for content, why in ((b"\n", "empty"), (b"\xff\xfe", "text file")):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(TokenFileMissing, match=why):
            Client(URL)
    with pytest.raises(BadRequest) as problem:
        Client(URL, "비밀 토큰")
    assert "비밀" not in str(problem.value)


@pytest.mark.parametrize("text", ["<html>login</html>", "[]", '{"half": '])
def test_a_good_status_from_something_else_is_no_answer(text: str) -> None:
    routes = {
        f"GET /api/v1/{path}": httpx.Response(200, text=text) for path in ("me", "training/jobs/a", "models")
    }
    use(FakePortal(routes | {"GET /api/v1/models": httpx.Response(200, text='{"a": 1}')}).client())
    try:
        for call in (dure.whoami, lambda: dure.job("a"), dure.models.list):
            with pytest.raises(BadAnswer, match="HTTP 200"):
                call()
    finally:
        use(None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": [[1.0], [float("nan")]]}, r"inputs\[1\]\[0\] = nan"),
        ({"inputs": [datetime.date(2026, 1, 2)]}, r"inputs\[0\] = datetime.date"),
        ({"inputs": {1, 2}}, r"inputs = \{1, 2\}"),
        ({"note": "half \ud800"}, "note"),
    ],
)
def test_what_json_cannot_hold_is_named_before_anything_is_sent(body: Any, field: str) -> None:
    portal = FakePortal({})
    with pytest.raises(BadRequest, match=field) as problem:
        portal.client().post("/x", body)
    assert "유한한 수" in problem.value.text("ko")
    assert portal.asked == []


def test_a_value_that_holds_itself_is_no_endless_search() -> None:
    rows: list[Any] = []
    rows.append(rows)
    with pytest.raises(BadRequest):
        FakePortal({}).client().post("/x", {"inputs": rows})


def test_a_name_that_no_address_can_hold_is_refused() -> None:
    with pytest.raises(BadRequest, match="control characters"):
        FakePortal({}).client().get("/training/jobs/a\x00b")


@pytest.mark.parametrize("problem", [BROKEN, AWAY])
def test_a_stop_is_sent_again(problem: httpx.Response | Exception) -> None:
    routes = {"DELETE /api/v1/environments/default": Queue(problem, httpx.Response(204))}
    fake = FakePortal(routes)
    use(fake.client())
    try:
        dure.environments.stop()
    finally:
        use(None)
    assert len(fake.asked) == 2


def test_an_error_comes_whole_out_of_another_process() -> None:
    error = pickle.loads(pickle.dumps(NotFound(kind="job", name="x")))  # noqa: S301 - our own bytes
    assert isinstance(error, NotFound)
    assert (error.facts, str(error)) == ({"kind": "job", "name": "x"}, str(NotFound(kind="job", name="x")))


def test_korean_sentences_have_korean_words_for_kinds_and_states() -> None:
    assert NotFound(kind="job", name="x").text("ko") == "이름이 x인 작업이(가) 없습니다."
    assert NotFound(kind="job", name="x").text("en") == "There is no job named x."
    waited = WaitedTooLong(kind="endpoint", name="x", state={"en": "starting", "ko": "시작 중"}, seconds=3)
    assert waited.text("ko") == "엔드포인트 x이(가) 3초가 지났지만 아직 시작 중 상태입니다."
    assert "still starting" in waited.text("en")


def test_advice_is_such_that_it_helps() -> None:
    assert "leave `name` out" in Conflict(kind="job", name="mine", rule="names of jobs are used once").advice()
    assert "make install" in NeedsTorch().advice()
    assert "pip" not in NeedsTorch().advice("ko")


def test_connections_are_closed_with_the_last_who_used_them() -> None:
    ours = FakePortal({"GET /api/v1/me": {}}).client()
    ours.get("/me")
    http = ours._http
    assert not http.is_closed
    del ours
    gc.collect()
    assert http.is_closed
