"""`dure.notices` and `dure notices`, against a portal that answers as ours."""

from __future__ import annotations

import io
from typing import Any

import pytest

import dure
from dure.cli import main
from tests.unit.sdk.portal import portal

PATH = "/api/v1/me/notices"
NOTICE = {
    "id": "01J00000000000000000000000",
    "kind": "job",
    "code": "job_failed",
    "thing": "job:ana/digits",
    "text": {"en": "The job digits has failed.", "ko": "작업 digits이(가) 실패했습니다."},
    "made_at": "2026-01-01T00:00:00Z",
    "page": "http://portal/services/dure/",
}
SETTINGS: dict[str, Any] = {"language": "ko", "timezone": "Asia/Seoul", "mail": True, "off": ["limit"]}
CHANNEL = {"id": NOTICE["id"], "scheme": "jsons", "host": "example.org", "made_at": NOTICE["made_at"]}


def test_all_that_there_are_now_are_marked_as_read() -> None:
    with portal({f"GET {PATH}": [NOTICE], f"POST {PATH}/seen": None}) as fake:
        assert [one.kind for one in dure.notices.list(unseen=True)] == ["job"]
        dure.notices.seen()
    assert dict(fake.asked[0].url.params) == {"unseen": "true", "limit": "50"}
    assert fake.bodies[-1] == {"ids": [], "through": NOTICE["id"]}


def test_what_is_not_named_stays_as_it_is() -> None:
    with portal({f"GET {PATH}/settings": SETTINGS, f"PUT {PATH}/settings": SETTINGS}) as fake:
        dure.notices.set(mail=False, timezone="")
    assert fake.bodies[-1] == {**SETTINGS, "mail": False, "timezone": None}


def test_the_command_lists_in_the_readers_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "ko")
    with portal({f"GET {PATH}": [NOTICE]}):
        assert main(["notices"]) == 0
    assert "작업 digits이(가) 실패했습니다." in capsys.readouterr().out


def test_an_address_comes_by_standard_input_and_not_in_an_argument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("jsons://example.org/s3cret\n"))
    with portal({f"POST {PATH}/channels": CHANNEL}) as fake:
        assert main(["notices", "--add"]) == 0
    assert fake.bodies[-1]["url"] == "jsons://example.org/s3cret"
    said = capsys.readouterr().out
    assert "example.org" in said
    assert "s3cret" not in said


def test_an_administrators_stop_at_once_says_so() -> None:
    with portal({"DELETE /api/v1/environments/default": None}) as fake:
        assert main(["servers", "default", "--owner", "ana", "--stop", "--now", "--reason", "repair"]) == 0
        assert main(["servers", "default", "--owner", "ana", "--stop", "--reason", "repair"]) == 0
    first, second = (dict(one.url.params) for one in fake.asked)
    assert first == {"owner": "ana", "reason": "repair", "now": "true"}
    assert second == {"owner": "ana", "reason": "repair"}
    with pytest.raises(SystemExit):
        main(["servers", "default", "--now"])
