"""A real Jupyter server before a small portal: what pages ask about their own environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.lab.kit import server, until
from tests.unit.lab.stub_portal import StubPortal, stub_portal

OWN = "the-token-of-this-server"
END = datetime(2026, 1, 1, 8, tzinfo=UTC)
ENVIRONMENT = {"name": "lab-2", "profile": "cpu", "phase": "running", "lease": {"until": END.isoformat()}}
USAGE = {"at": "2026-01-01T00:00:00+00:00", "memory_mb": 4096, "memory_used_mb": None, "devices": []}
REFUSAL = {
    "error": {"code": "end_too_late", "message": "이 문장", "next_step": "그대로", "facts": {"longest_s": 1}}
}
UNREAD = "/me/notices?unseen=true&limit=5"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, StubPortal]]:
    """A server that a portal has started as `lab-2`, and that portal."""
    with ExitStack() as stack:
        stub = stack.enter_context(stub_portal())
        told = {"DURE_URL": stub.url, "JUPYTERHUB_API_TOKEN": OWN, "JUPYTERHUB_SERVER_NAME": "lab-2"}
        folder = tmp_path_factory.mktemp("lab")
        client = stack.enter_context(server(folder, "dure_lab.routes", **told))
        yield client, stub


@pytest.fixture
def mine(place: tuple[httpx.Client, StubPortal]) -> httpx.Client:
    return place[0]


@pytest.fixture
def portal(place: tuple[httpx.Client, StubPortal]) -> StubPortal:
    """The portal with the usual answers; the server has forgotten what it saw before."""
    client, stub = place
    stub.answers.clear()
    stub.answers["DELETE lab-2"] = (204, None)
    client.post("/dure/stop").raise_for_status()
    stub.answers |= {"GET lab-2": (200, ENVIRONMENT), "GET lab-2/usage": (200, USAGE)}
    stub.asked.clear()
    return stub


def test_many_pages_are_one_look_and_the_time_goes_on(mine: httpx.Client, portal: StubPortal) -> None:
    seen = [mine.get("/dure/environment", headers={"Accept-Language": "ko"}).json() for _ in range(5)]
    assert sorted((one.verb, one.path) for one in portal.asked) == [
        ("GET", UNREAD),
        ("GET", "lab-2"),
        ("GET", "lab-2/usage"),
    ]
    assert {(one.token, one.language) for one in portal.asked} == {(f"Bearer {OWN}", "ko")}
    for one in seen:
        assert (one["environment"], one["usage"]) == (ENVIRONMENT, USAGE)
    times = [datetime.fromisoformat(one["now"]) for one in seen]
    assert times == sorted(times)
    assert datetime.fromisoformat(USAGE["at"]) <= times[0] < times[-1]  # type: ignore[arg-type]
    mine.get("/dure/environment", headers={"Accept-Language": "en"}).raise_for_status()
    assert len(portal.of("GET", "lab-2")) == 2, "sentences differ by language"


def test_unread_notices_come_with_the_look_and_are_marked_as_read(mine: httpx.Client, portal: StubPortal) -> None:
    notice = {"id": "01J00000000000000000000000", "kind": "job", "text": {"en": "The job has failed."}}
    assert mine.get("/dure/environment").json()["notices"] is None, "an older portal has none"
    portal.answers |= {f"GET {UNREAD}": (200, [notice]), "POST /me/notices/seen": (204, None)}
    assert mine.post("/dure/notices/seen", json={"ids": [notice["id"]]}).json() == {"seen": True}
    assert mine.get("/dure/environment").json()["notices"] == [notice]
    (asked,) = portal.of("POST", "/me/notices/seen")
    assert asked.body == {"ids": [notice["id"]]}


def test_no_page_gets_the_portals_token(mine: httpx.Client, portal: StubPortal) -> None:
    for path in ("/dure/environment", "/dure/usage"):
        answer = mine.get(path)
        assert OWN not in answer.text + str(answer.headers)


def test_use_that_is_not_known_hides_no_end(mine: httpx.Client, portal: StubPortal) -> None:
    portal.answers["GET lab-2/usage"] = (409, REFUSAL)
    seen = mine.get("/dure/environment").json()
    assert (seen["environment"], seen["usage"], seen["now"]) == (ENVIRONMENT, None, None)
    asked = mine.get("/dure/usage")
    assert (asked.status_code, asked.json()) == (409, REFUSAL)


def test_hours_are_counted_from_the_present_end(mine: httpx.Client, portal: StubPortal) -> None:
    mine.get("/dure/environment").raise_for_status()
    portal.answers["POST lab-2/extend"] = (200, ENVIRONMENT | {"profile": "moved"})
    assert mine.post("/dure/extend", json={"hours": 1.5}).json()["profile"] == "moved"
    assert mine.post("/dure/extend", json={"until": "2026-01-02T00:00:00Z"}).is_success
    first, second = (one.body["until"] for one in portal.of("POST", "lab-2/extend"))
    assert datetime.fromisoformat(first) == END + timedelta(hours=1.5)
    assert second == "2026-01-02T00:00:00Z"
    portal.asked.clear()
    mine.get("/dure/environment").raise_for_status()
    assert portal.asked, "what was changed is looked at again"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"hours": 0},
        {"hours": 721},
        {"hours": True},
        {"hours": "1"},
        {"hours": 1, "until": "x"},
        {"until": 1},
    ],
)
def test_what_is_neither_hours_nor_a_time_is_refused_here(
    mine: httpx.Client, portal: StubPortal, body: Any
) -> None:
    answer = mine.post("/dure/extend", json=body, headers={"Accept-Language": "en"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")
    assert not portal.of("POST", "lab-2/extend")


def test_the_portals_own_sentence_is_passed_on(mine: httpx.Client, portal: StubPortal) -> None:
    portal.answers["POST lab-2/extend"] = (422, REFUSAL)
    answer = mine.post("/dure/extend", json={"hours": 4})
    assert (answer.status_code, answer.json()) == (422, REFUSAL)
    portal.answers["GET lab-2"] = (200, ENVIRONMENT | {"lease": None, "phase": "stopping"})
    answer = mine.post("/dure/extend", json={"hours": 4}, headers={"Accept-Language": "ko"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_running")
    assert "종료 중" in answer.json()["error"]["message"]


def test_stop_is_asked_of_the_portal(mine: httpx.Client, portal: StubPortal) -> None:
    assert mine.post("/dure/stop").json() == {"stopping": True}
    assert len(portal.of("DELETE", "lab-2")) == 1


def test_only_who_is_logged_in_may_ask_and_write_with_proof(mine: httpx.Client, portal: StubPortal) -> None:
    with httpx.Client(base_url=mine.base_url) as stranger:
        for path in ("environment", "usage"):
            assert stranger.get(f"/dure/{path}").status_code == 403
        for path in ("extend", "stop"):
            assert stranger.post(f"/dure/{path}", json={"hours": 1}).status_code == 403
        stranger.get("/login?token=t", follow_redirects=True)
        assert stranger.get("/dure/environment").is_success, "a browser that has logged in"
        assert stranger.post("/dure/stop").status_code == 403, "a write by cookie from who knows where"
    assert not portal.of("DELETE", "lab-2")


def test_polling_is_no_use_of_the_server_and_acting_is(mine: httpx.Client, portal: StubPortal) -> None:
    def used_at() -> str:
        return str(mine.get("/api/status").json()["last_activity"])

    before = used_at()
    for path in ("environment", "usage"):
        mine.get(f"/dure/{path}?no_track_activity=1").raise_for_status()
    assert used_at() == before
    mine.get("/dure/environment").raise_for_status()
    assert used_at() > before


def test_a_portal_that_is_away_is_a_sentence_and_comes_back(tmp_path: Path) -> None:
    with stub_portal() as stub:
        url = stub.url
    told = {"DURE_URL": url, "JUPYTERHUB_API_TOKEN": OWN, "JUPYTERHUB_SERVER_NAME": ""}
    with server(tmp_path, "dure_lab.routes", **told) as client:
        answer = client.get("/dure/environment", headers={"Accept-Language": "ko"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "portal_unreachable")
        assert "응답하지 않습니다" in answer.json()["error"]["message"]
        assert client.post("/dure/stop").status_code == 503
        with stub_portal(int(url.rpartition(":")[2])) as back:
            back.answers |= {"GET default": (502, None), "GET default/usage": (200, USAGE)}
            assert client.get("/dure/environment").json()["error"]["code"] == "portal_unreachable"
            back.answers["GET default"] = (200, ENVIRONMENT)
            found = until(lambda: client.get("/dure/environment").json(), "an answer", tmp_path / "log")
            assert found["environment"] == ENVIRONMENT
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_a_portal_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with server(tmp_path, "dure_lab.routes") as client:
        assert client.get("/dure/environment").status_code == 404
        assert client.post("/dure/checkpoint").is_success
