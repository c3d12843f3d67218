"""What is sent again and what is not, and how errors arrive."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from dure.client import Client, client, use
from dure.errors import BadAnswer, DureError, NotFound, NotReady, PortalUnreachable, RemoteError
from dure.sdk_errors import NoPortal, NoToken, TokenFileMissing
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
