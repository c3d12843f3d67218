"""What a backend asks of a server, before its end and about its guests: it takes whatever comes back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure_hub.backends import asking
from dure_hub.backends.base import Handle, Kind
from tests.contract.backends.kit import Place, until

STUB = Path(__file__).parents[2] / "support" / "stub_server.py"
SAID: dict[str, Any] = {"saved": ["a.txt"], "failed": [], "pages": 1, "silent": 0, "hook": None}


async def started(place: Place, gate: Path) -> Handle:
    """A server that answers as the files beside `gate` say."""
    address = "http://127.0.0.1:{port}/user/ann/b/"
    environment = {"JUPYTERHUB_SERVICE_URL": address, "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/b/"}
    command = [sys.executable, "-I", "-S", str(STUB), str(gate)]
    handle = await place.start(place.work(Kind.SERVER, command=command, environment=environment))
    host, port = place.servers().address(handle)

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://{host}:{port}/")).is_success
        except httpx.TransportError:
            return False

    await until(answers, lambda: place.report(handle))
    return handle


async def test_it_is_asked_with_its_own_token_and_its_answer_comes_back(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.with_name("gate.before-stop").write_text(f"200\n{json.dumps(SAID)}")
    handle = await started(place, gate)
    bare = Handle(handle.lease, Kind.SERVER)
    found = await place.servers().before_stop(bare, "idle", "2026-01-01T00:00:00Z", 19)
    assert found == SAID
    asked = gate.with_name("gate.asked").read_text()
    assert asked.startswith("POST /user/ann/b/dure/before-stop HTTP/1.1")
    assert "uthorization: token s3cret" in asked
    body = json.loads(asked[asked.index("{") :])
    assert body == {"reason": "idle", "ends_at": "2026-01-01T00:00:00Z", "hook_seconds": 19}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "500\n{}",
        "200\nstub",
        "200\n[]",
        "302\n{}",
        "200\n" + "[" * 100_000,
        '200\n{"a": "' + "x" * (2 << 20) + '"}',
    ],
    ids=["absent", "failing", "no JSON", "no object", "elsewhere", "too deep", "too long"],
)
async def test_what_does_not_answer_as_it_should_is_unknown(
    place: Place, tmp_path: Path, answer: str | None
) -> None:
    gate = tmp_path / "gate"
    if answer is not None:
        gate.with_name("gate.before-stop").write_text(answer)
    handle = await started(place, gate)
    assert await place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19) is None


async def test_one_that_is_silent_can_be_given_up_and_still_ends(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.with_name("gate.before-stop").write_text("silence\n")
    handle = await started(place, gate)
    asking = asyncio.create_task(place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19))

    async def asked() -> bool:
        return gate.with_name("gate.asked").exists()

    await until(asked, lambda: place.report(handle))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await place.servers().stop(handle, grace_s=10)
    assert await place.servers().before_stop(handle, "idle", "2026-01-01T00:00:00Z", 19) is None, "it has ended"


@pytest.mark.parametrize(
    ("answer", "watches"),
    [
        ('200\n{"watching": true}', True),
        ('200\n{"watching": "yes"}', False),
        ("200\n{}", False),
        ("200\nstub", False),
        ("403\n{}", False),
        (None, False),
        ("silence\n", False),
    ],
)
async def test_only_a_server_that_says_so_watches_its_guests(
    place: Place, tmp_path: Path, answer: str | None, watches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    handle = await started(place, gate)
    if answer == "silence\n":
        monkeypatch.setattr(asking, "GUARD_S", 0.3)
    if answer is not None:
        gate.with_name("gate.guests").write_text(answer)
    assert await place.servers().watches_guests(handle) is watches
    if answer is not None:
        asked = gate.with_name("gate.asked").read_text()
        assert asked.startswith("GET /user/ann/b/dure/guests HTTP/1.1")
        assert "uthorization: token s3cret" in asked
    await place.servers().stop(handle, grace_s=0)
    assert not await place.servers().watches_guests(handle)
