"""Junk gets an answer of the 400s in the one shape, never a 500."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dure.wire.ids import new_id
from dure_hub.services.places import API, BASE
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_owners import DIGEST, PACKED

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ODD = [
    "",
    "-",
    "../..",
    "%2e%2e",
    "\x00",
    "\ud800",
    "🦜",
    "a" * 5000,
    "ㄱ",
    "'; drop table jobs; --",
    "0" * 64,
    ID,
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308]
WORDS: list[Any] = [None, True, False, [], [[]], {}, {"": None}, {"en": 1}, "a", "default", "cpu", *ODD, *NUMBERS]
# A request that is right; what is changed in it reaches further than what is junk throughout.
RIGHT: dict[str, dict[str, Any]] = {
    "/environments": {"id": ID, "name": "a", "profile": "cpu", "lifetime_s": 3600},
    "/training/jobs": {
        "id": ID, "name": "a", "profile": "cpu", "snapshot": DIGEST, "entry": "train.py", "parameters": {"a": 1},
        "processes": 1, "experiment": "default", "git_commit": "0" * 40,
    },
    "/environments/a/extend": {"until": "2026-01-01T00:00:00Z"},
    "/models": {"name": "a", "job": "a", "tags": {"a": "b"}},
    "/endpoints": {"id": ID, "name": "a", "model": "a", "version": 1, "profile": "cpu"},
    "/endpoints/a/canary": {"id": ID, "version": 1, "percent": 10},
    "/schedules": {
        "id": ID, "name": "a", "snapshot": DIGEST, "notebook": "a.ipynb", "cron": "0 9 * * *",
        "timezone": "Asia/Seoul", "parameters": {"a": 1}, "profile": "cpu", "limit_s": 600,
    },
    "/schedules/a/run": {"id": ID, "parameters": {"a": 1}},
    "/tokens": {"purpose": "a", "lifetime_s": 3600},
    "/gpu/allocations": {
        "namespace": "a", "podName": "a", "workloadType": "training", "useMig": True, "requiredMemoryGb": 10,
        "lifetime": 3600, "team": "a", "project": "a",
    },
    "/gpu/devices/a/mig": {"profiles": ["1g.10gb"]},
}  # fmt: skip
FIELDS = sorted({"", "__class__", *(field for right in RIGHT.values() for field in right)})
RAW = [b"", b"{", b"null", b"\xff\xfe", b'{"id": NaN}', b"[" * 5000, b'{"a":' * 500, b"0" * 5000, b'"\\ud800"']
PARTS = ["a", "default", "%00", "..", "%2F", "%F0%9F%A6%9C", "x" * 300, "0" * 64, "%ED%A0%80"]
TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "",
    "x",
    ";;=",
]


def junk(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    if depth < 2 and chance.random() < 0.5:
        return {chance.choice(FIELDS): junk(chance, depth + 1) for _ in range(chance.randrange(6))}
    return chance.choice(WORDS)


def body(chance: random.Random) -> bytes:
    """The bytes of a body, mostly an object with fields we know."""
    if chance.random() < 0.2:
        return chance.choice(RAW)
    given = {field: junk(chance, 1) for field in chance.sample(FIELDS, chance.randrange(8))}
    return json.dumps(given).encode("utf-8", "surrogatepass")


def paths(app: FastAPI) -> list[tuple[str, str]]:
    """Every call of the API."""
    return [(verb.upper(), path) for path, verbs in app.openapi()["paths"].items() for verb in verbs]


@pytest.mark.parametrize("seed", range(4))
async def test_junk_is_refused_in_words(anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub, seed: int) -> None:
    chance = random.Random(seed)
    headers = bearer(hub.person("root", admin=True))
    for verb, path in paths(app):
        for _ in range(6):
            url = path
            for parameter in ("name", "alias", "digest", "token_id", "number", "device", "allocation_id"):
                url = url.replace("{" + parameter + "}", chance.choice(PARTS))
            query = f"?offset={chance.choice(['-1', 'x', '9' * 40, '%00'])}&limit=%F0&before=a&everyone=maybe"
            query += "&owner=%0A&reason=%1B&cursor=%00&nodeName=%0A"
            url += query if chance.random() < 0.4 else ""
            sent = {**headers, "Content-Type": chance.choice(TYPES)}
            answer = await anyone.request(verb, url, content=body(chance), headers=sent)
            what = f"{verb} {url} -> {answer.status_code} {answer.text[:200]}"
            # MLflow does not run here: a request that is right so far is told so.
            away = answer.status_code == 503 and "MLflow" in answer.text
            assert answer.status_code < 500 or away, what
            if answer.status_code >= 400 and verb != "HEAD":
                assert answer.json()["error"]["code"], what


@pytest.mark.parametrize("path", RIGHT)
async def test_one_odd_value_is_refused_in_words_or_taken(
    anyone: httpx.AsyncClient, hub: StubHub, path: str
) -> None:
    headers = {**bearer(hub.person("ana")), "Content-Type": "application/json"}
    await anyone.put(f"{API}/snapshots/{DIGEST}", content=PACKED, headers=headers)
    odd = [*WORDS, {"a": 10**400}, {"a" * 300: "\x00"}, {"\ud800": "\ud800"}, {"a": "\ud800"}]
    for number, (field, word) in enumerate((field, word) for field in RIGHT[path] for word in odd):
        fresh = {"id": new_id(), "name": f"a{number}"}
        given = {**RIGHT[path], **{name: fresh[name] for name in fresh if name in RIGHT[path]}, field: word}
        answer = await anyone.post(API + path, content=json.dumps(given), headers=headers)
        away = answer.status_code == 503 and "MLflow" in answer.text
        assert answer.status_code < 500 or away, f"{field}={str(word)[:80]!r} -> {answer.text[:300]}"


@pytest.mark.parametrize("where", ["/spawn", "/wait/default/stop", "/wait/default/instead", "/wait/%00/stop"])
async def test_junk_in_forms_is_refused_in_words(anyone: httpx.AsyncClient, ana: Browser, where: str) -> None:
    chance = random.Random(1)
    for _ in range(30):
        form = {
            field: str(junk(chance, 2)).encode("utf-8", "replace").decode()
            for field in FIELDS
            if chance.random() < 0.5
        }
        answer = await anyone.post(BASE + where, data={**form, "csrf": ana.csrf}, headers=ana.navigate())
        assert 400 <= answer.status_code < 500, (where, form, answer.text)
    for content_type in TYPES:
        sent = {**ana.navigate(), "Content-Type": content_type}
        answer = await anyone.post(BASE + where, content=b"\xff--x\r\ncsrf", headers=sent)
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer  ", "bearer \x7f", "Token a b", "Bearer " + "x" * 5000, "x", "Bearer dure_"]
)
async def test_junk_as_a_token_is_a_401(anyone: httpx.AsyncClient, header: str) -> None:
    assert (await anyone.get(f"{API}/me", headers={"Authorization": header})).status_code == 401
