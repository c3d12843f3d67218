"""`dure device`, `dure disk` and `dure logs --lease`, against a portal that only remembers what it was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import dure
from dure.cli import main
from dure.device_commands import moment
from dure.errors import BadRequest
from tests.unit.sdk.portal import error, portal

LEASE = "01JD0000000000000000000000"
DISK = {
    "starts": False, "place": "data", "free": 40 << 20, "total": 1000 << 20, "free_percent": 4.0,
    "limit_percent": 5.0, "minimum_mb": 16, "folders": [{"folder": "users/", "size": 900 << 20, "at_least": True}],
    "homes": [{"folder": "users/ana", "size": 5 << 20}], "from_a_newer_portal": 1,
}  # fmt: skip


def device(**more: Any) -> dict[str, Any]:
    return {"uuid": "GPU-1", "name": "H100", "state": "cordoned", "from_a_newer_portal": True, **more}


def test_a_cordon_says_until_when_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    with portal({"POST /api/v1/devices/GPU-1/cordon": device(message="new fans")}) as fake:
        words = ["--until", "2026-01-31T18:00+09:00", "--message", "new fans"]
        assert main(["device", "cordon", "GPU-1", *words]) == 0
    (body,) = fake.bodies
    assert datetime.fromisoformat(body["until"]) == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert body["message"] == "new fans"
    assert "cordoned" in capsys.readouterr().out


def test_what_a_healthy_gpu_has_nothing_of_is_a_dash_and_not_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with portal({"GET /api/v1/devices": [device(state="healthy")]}):
        assert main(["device", "list"]) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["GPU-1", "H100", "healthy", "-", "-", "-"]


def test_a_drain_without_a_date_leaves_it_to_the_portal() -> None:
    with portal({"POST /api/v1/devices/GPU-1/drain": device(state="draining")}) as fake:
        assert main(["device", "drain", "GPU-1", "--now", "--message", "smoke"]) == 0
    assert fake.bodies == [{"until": None, "message": "smoke", "now": True}]


def test_what_is_gone_is_said_to_be_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    with portal({"POST /api/v1/devices/GPU-1/uncordon": httpx.Response(204)}):
        assert main(["device", "uncordon", "GPU-1"]) == 0
        assert dure.devices.uncordon("GPU-1") is None
    assert "GPU-1" in capsys.readouterr().out


def test_a_refusal_is_a_sentence_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    with portal({"GET /api/v1/devices": error(403, "not_allowed", user="ana", scope="custom:dure:admin")}):
        assert main(["device", "list"]) == 1
    assert capsys.readouterr().err


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", ""])
def test_a_date_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadRequest):
        moment(text)


def test_a_date_without_a_zone_is_in_this_ones() -> None:
    found = moment("2026-01-31T18:00")
    assert found is not None
    assert found.utcoffset() is not None
    assert moment(None) is None


def test_the_disk_is_told_with_what_could_not_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with portal({"GET /api/v1/disk": DISK}):
        assert main(["disk"]) == 0
    said = capsys.readouterr().out
    assert "40 MiB of 1000 MiB" in said or "1000 MiB" in said
    assert ">=" in said
    assert "users/ana" in said


def pages(request: httpx.Request) -> dict[str, Any]:
    """A log of three bytes at a time."""
    offset, text = int(request.url.params["offset"]), "abcdefg"
    piece = text[offset : offset + 3]
    return {"text": piece, "offset": offset, "next_offset": offset + len(piece), "done": offset + 3 >= len(text)}


def test_a_leases_log_is_read_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=pages(request))

    with portal({f"GET /api/v1/leases/{LEASE}/logs": answer}) as fake:
        assert main(["logs", "--lease", LEASE]) == 0
    assert capsys.readouterr().out == "abcdefg"
    assert len(fake.asked) == 3


@pytest.mark.parametrize("words", [[], ["name", "--lease", LEASE], ["--lease", LEASE, "--follow"]])
def test_logs_are_of_a_job_or_of_a_lease(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with portal({}) as fake:
        assert main(["logs", *words]) == 1
    assert fake.asked == []
    assert "--lease" in capsys.readouterr().err
