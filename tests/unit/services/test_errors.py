"""One shape for everything that goes wrong, in the reader's language, and never a secret."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dure.wire.ids import new_id
from dure.wire.languages import accepted
from dure_hub.operations import Operations
from dure_hub.services.errors import RULES
from dure_hub.services.places import API, BASE
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error, which is all there is."""
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "next_step", "facts"}
    error: dict[str, Any] = body["error"]
    assert error["message"]
    assert error["next_step"]
    return error


async def test_a_refused_value_names_field_value_and_rule(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    body = {"id": new_id(), "profile": "cpu", "name": "No Good"}
    answer = await anyone.post(f"{API}/environments", json=body, headers=bearer(hub.person("ana")))
    assert answer.status_code == 422
    error = error_of(answer)
    assert error["code"] == "bad_request"
    assert (error["facts"]["field"], error["facts"]["value"]) == ("name", "No Good")
    assert "must match" in error["facts"]["rule"]


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({"profile": "cpu"}, "id", "required"),
        ({"id": "x", "profile": "cpu"}, "id", "match"),
        ({"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "profile": "cpu", "gpus": 3}, "gpus", "no such field"),
        (
            {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "profile": "cpu", "lifetime_s": "soon"},
            "lifetime_s",
            "whole number",
        ),
        ({"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "profile": "cpu", "lifetime_s": 1}, "lifetime_s", "at least 300"),
        ({"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "profile": "cpu", "project": "a\0b"}, "body", "NUL"),
        ([], "body", "JSON object"),
        (None, "body", "required"),
    ],
)
async def test_rules_are_said_in_words(
    anyone: httpx.AsyncClient, hub: StubHub, body: Any, field: str, rule: str
) -> None:
    answer = await anyone.post(f"{API}/environments", json=body, headers=bearer(hub.person("ana")))
    facts = error_of(answer)["facts"]
    assert facts["field"] == field
    assert rule in facts["rule"]


async def test_no_text_has_a_nul_however_deep_it_is(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    deep: Any = "a\0b"
    for _ in range(400):
        deep = [{"in": deep}]
    for parameters in ({"name": "a\0b"}, {"a\0b": 1}, {"deep": deep}):
        body = {"id": new_id(), "name": "one", "snapshot": "0" * 64, "entry": "a.py", "parameters": parameters}
        answer = await anyone.post(f"{API}/training/jobs", json=body, headers=bearer(hub.person("ana")))
        error = error_of(answer)
        assert (answer.status_code, error["facts"]["value"]) == (422, None)
        assert "NUL" in error["facts"]["rule"]


async def test_a_secret_put_in_the_wrong_place_does_not_come_back(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    headers = bearer(hub.person("ana"))
    secret = "dure_" + "s" * 43
    bodies = [
        {"id": secret, "profile": "cpu"},
        {"id": new_id(), "profile": "cpu", "token": "s3cret"},
        {"a": {"b": secret}},
    ]
    for body in bodies:
        answer = await anyone.post(f"{API}/environments", json=body, headers=headers)
        assert answer.status_code == 422
        assert "sssss" not in answer.text
        assert "s3cret" not in answer.text
    answer = await anyone.get(f"{API}/environments/{secret}", headers=headers)
    assert answer.status_code == 422
    assert "sssss" not in answer.text


async def test_errors_come_in_korean(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    headers = {**bearer(hub.person("ana")), "Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}
    answer = await anyone.post(f"{API}/environments", json={"profile": "cpu"}, headers=headers)
    error = error_of(answer)
    assert error["facts"]["rule"] == "필수 항목입니다"
    assert "사용할 수 없습니다" in error["message"]


def test_every_rule_has_both_languages() -> None:
    assert all(set(text) == {"en", "ko"} for text in RULES.values())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("fr", None),
        ("ko", "ko"),
        ("fr, en;q=0.2, ko-KR;q=0.9", "ko"),
        ("en;q=x, ko;q=0", None),
        ("en;q=0.5, ko; q=0.9", "ko"),
        ("en;q=0.5,ko ; Q=0.9", "ko"),
        ("kok,en;q=0.1", "en"),
        ("en;q=0.5,ko;q=nan,ko;q=inf,ko;q=-1,ko;q=7", "en"),
        ("*", None),
        (",;q=1," * 1000, None),
    ],
)
def test_the_browsers_wish_is_read(header: str, expected: str | None) -> None:
    assert accepted(header) == expected


async def test_unknown_paths_and_verbs(anyone: httpx.AsyncClient) -> None:
    for path in ("/", "/nope", f"{API}/nope", f"{BASE}/nope", f"{API}/environments/"):
        answer = await anyone.get(path)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "no_such_page")
    answer = await anyone.patch(f"{API}/environments")
    assert (answer.status_code, error_of(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]


async def test_a_person_gets_a_page_and_a_program_json(anyone: httpx.AsyncClient) -> None:
    page = await anyone.get(f"{BASE}/nope", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "<h1>There is nothing at /services/dure/nope.</h1>" in page.text
    assert error_of(await anyone.get(f"{API}/nope", headers={"Accept": "text/html"}))


async def test_what_a_page_is_given_is_text(anyone: httpx.AsyncClient, ana: Browser) -> None:
    hostile = "<script>alert(1)</script>"
    for where in (f"{BASE}/{hostile}", f"{BASE}/spawn?name={hostile}&profile={hostile}", f"{BASE}/wait/{hostile}"):
        answer = await anyone.get(where, headers=ana.navigate())
        assert hostile not in answer.text
        assert "text/html" in answer.headers["content-type"]


async def test_a_bugs_text_stays_in_the_log(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def list(self, person: object, purpose: object = None) -> None:
            raise RuntimeError("the inside of the portal")

        async def last(self, person: object, name: str) -> None:
            raise RuntimeError("the inside of the portal")

    ops.profiles = ops.offers = Broken()  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR, logger="dure.services"):
        answer = await anyone.get(f"{API}/profiles", headers=bearer(hub.person("ana")))
        page = await anyone.get(f"{BASE}/spawn", headers=ana.navigate())
    assert (answer.status_code, page.status_code) == (500, 500)
    error = error_of(answer)
    assert error["code"] == "server_fault"
    assert "inside" not in answer.text + page.text
    assert error["facts"]["reference"] in caplog.text
    assert "the inside of the portal" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_bodies_are_bounded(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    headers = {**bearer(hub.person("ana")), "Content-Type": "application/json"}

    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 65536

    for content in (b" " * (1 << 20) + b"{}", endless()):
        answer = await anyone.post(f"{API}/environments", content=content, headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")


async def test_openapi_is_made_from_the_wire_types(anyone: httpx.AsyncClient, app: FastAPI) -> None:
    document = (await anyone.get(f"{API}/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["EnvironmentRequest"]["additionalProperties"] is False
    assert {"Environment", "Job", "ModelVersion", "Endpoint", "Profile", "ErrorAnswer"} <= set(schemas)
    assert all(path.startswith(API) for path in document["paths"])
    for verbs in document["paths"].values():
        for call in verbs.values():
            (described,) = call["responses"]["default"]["content"].values()
            assert described["schema"]["$ref"].endswith("ErrorAnswer")
