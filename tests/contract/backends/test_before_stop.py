"""What a backend asks of a server, before its end and about its guests: it takes whatever comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from dure_hub.backends import asking
from dure_hub.backends.base import Handle, Kind
from tests.contract.backends.kit import Place, until

SAID: dict[str, Any] = {"saved": ["a.txt"], "failed": [], "pages": 1, "silent": 0, "hook": None}
Answer = tuple[int, Sequence[tuple[str, int]]] | None
"""A status and pieces of text, each so many times; None is silence."""


def text(status: int, body: str) -> Answer:
    """This and nothing else."""
    return status, [(body, 1)]


async def started(place: Place, **answers: Answer) -> Handle:
    """A server that answers so when it is asked before its end (`before_stop`), and about its guests."""
    said = json.dumps({name.replace("_", "-"): answer for name, answer in answers.items()})
    base = "/user/ann/b/"
    variables = {
        "ANSWERS": said,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{{port}}{base}",
        "JUPYTERHUB_SERVICE_PREFIX": base,
    }
    handle = await place.start(place.work(Kind.SERVER, variables=variables))
    host, port = place.servers().address(handle)

    async def listens() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://{host}:{port}/")).is_success
        except httpx.TransportError:
            return False

    await until(listens, lambda: place.report(handle))
    return handle


async def test_it_is_asked_with_its_own_token_and_its_answer_comes_back(place: Place) -> None:
    handle = await started(place, before_stop=text(200, json.dumps(SAID)))
    bare = Handle(handle.lease, Kind.SERVER)
    found = await place.servers().before_stop(bare, "idle", "2026-01-01T00:00:00Z", 19)
    assert found == SAID
    _, asked = await place.printed(handle, 2)
    assert asked["asked"] == "POST /user/ann/b/dure/before-stop"
    assert asked["authorization"] == "token s3cret"
    body = json.loads(asked["body"])
    assert body == {"reason": "idle", "ends_at": "2026-01-01T00:00:00Z", "hook_seconds": 19}


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"before_stop": text(500, "{}")},
        {"before_stop": text(200, "stub")},
        {"before_stop": text(200, "[]")},
        {"before_stop": text(302, "{}")},
        {"before_stop": (200, [("[", 100_000)])},
        {"before_stop": (200, [('{"a": "', 1), ("x", 2 << 20), ('"}', 1)])},
    ],
    ids=["absent", "failing", "no JSON", "no object", "elsewhere", "too deep", "too long"],
)
async def test_what_does_not_answer_as_it_should_is_unknown(place: Place, answers: dict[str, Answer]) -> None:
    handle = await started(place, **answers)
    assert await place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19) is None


async def test_one_that_is_silent_can_be_given_up_and_still_ends(place: Place) -> None:
    handle = await started(place, before_stop=None)
    asking = asyncio.create_task(place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19))
    await place.printed(handle, 2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await place.servers().stop(handle, grace_s=10)
    assert await place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19) is None, "it has ended"


@pytest.mark.parametrize(
    ("answers", "watches"),
    [
        ({"guests": text(200, '{"watching": true}')}, True),
        ({"guests": text(200, '{"watching": "yes"}')}, False),
        ({"guests": text(200, "{}")}, False),
        ({"guests": text(200, "stub")}, False),
        ({"guests": text(403, "{}")}, False),
        ({}, False),
        ({"guests": None}, False),
    ],
    ids=["yes", "no bool", "no word", "no JSON", "refused", "absent", "silent"],
)
async def test_only_a_server_that_says_so_watches_its_guests(
    place: Place, answers: dict[str, Answer], watches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await started(place, **answers)
    if answers.get("guests", ()) is None:
        monkeypatch.setattr(asking, "GUARD_S", 0.3)
    assert await place.servers().watches_guests(handle) is watches
    if watches:
        _, asked = await place.printed(handle, 2)
        assert asked["asked"] == "GET /user/ann/b/dure/guests"
        assert asked["authorization"] == "token s3cret"
    await place.servers().stop(handle, grace_s=0)
    assert not await place.servers().watches_guests(handle)
