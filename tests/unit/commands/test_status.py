"""What `dure status` says of services that ended: how often, why, when the next try is; in the reader's zone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.commands.status import look
from dure_hub.commands.status_text import HEADS, table, text, width
from dure_hub.settings import Settings
from dure_hub.supervisor import beside, lock, processes
from dure_hub.supervisor.care import Care, End
from dure_hub.supervisor.keeper import care_path, log_path, record_path
from dure_hub.supervisor.processes import Record

AT = 1_767_225_600.0  # 2026-01-01 00:00 UTC


@pytest.fixture
def seoul(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader in Seoul."""
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a portal where nothing runs: its ports are nobody's."""
    made = Settings.model_validate(
        {"data": tmp_path / "d", "instance": "0" * 12, "hub_port": 1, "portal_port": 1, "warm_starts": False}
    )
    made.folder.create()
    return made


async def seen(settings: Settings, name: str, care: Care | None) -> dict[str, Any]:
    """This service with this care, watched by us."""
    if care is not None:
        care.save(care_path(settings.folder, name))
    with lock.held(settings):
        lock.write_holder(settings.folder.run, settings.front_url, "up")
        return await look(settings)


async def test_an_end_is_told_with_its_signal_and_time(settings: Settings, seoul: None) -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    Record(me, "", AT).save(record_path(settings.folder, "hub"))
    found = await seen(settings, "hub", Care(ends=2, in_a_row=1, last=End(-9, AT, 5)))
    hub = found["services"]["hub"]
    assert hub["restarts"] == 2
    assert hub["last_end"] == {"code": -9, "at": AT, "lived_s": 5, "signal": "SIGKILL"}
    assert (hub["next_try"], hub["failing"]) == (None, False)
    said = text(found, "en", "d")
    assert "2026-01-01 09:00:00 by SIGKILL" in said
    assert "2026-01-01 09:00:00 SIGKILL" in text(found, "ko", "d")


async def test_services_that_a_pod_runs_are_told_as_such(settings: Settings) -> None:
    settings.folder.run.mkdir(parents=True, exist_ok=True)
    descriptor = beside.share(settings.folder.run)
    try:
        found = await look(settings)
    finally:
        os.close(descriptor)
    assert (found["up"], found["beside"], found["services"]["hub"]["answers"]) == (False, True, False)
    assert "as a pod's containers" in text(found, "en", "d")
    assert "does not answer" in text(found, "en", "d")
    found = await look(settings)
    assert (found["beside"], "not running" in text(found, "en", "d")) == (False, True)


@pytest.mark.parametrize(
    ("language", "words"), [("en", "hub does not start"), ("ko", "hub이(가) 시작되지 않습니다")]
)
async def test_what_never_starts_is_told_with_the_end_of_its_log_and_the_next_try(
    settings: Settings, language: str, words: str, seoul: None
) -> None:
    log_path(settings.folder, "hub").write_text("".join(f"line {n}\n" for n in range(30)) + "address in use\n")
    later = time.time() + 3600
    care = Care(ends=5, in_a_row=5, unanswered=5, last=End(1, AT, 0.5), next_at=later)
    found = await seen(settings, "hub", care)
    hub = found["services"]["hub"]
    assert (hub["failing"], hub["restarts"], hub["next_try"]) == (True, 4, later)
    assert hub["log_end"][-1] == "address in use"
    said = text(found, language, "d")
    assert words in said
    assert "    address in use" in said
    assert "line 3\n" not in said
    assert time.strftime("%H:%M:%S", time.localtime(later)) in said


async def test_unknown_is_unknown(settings: Settings) -> None:
    found = await seen(settings, "hub", None)
    hub = found["services"]["hub"]
    assert (hub["restarts"], hub["last_end"]) == (None, None)
    row = next(line for line in text(found, "en", "d").splitlines() if line.startswith("  hub"))
    assert row.split()[-1] == "?"
    known = await seen(settings, "hub", Care(ends=1, in_a_row=1, last=End(None, AT)))
    assert "nobody saw how" in text(known, "en", "d")


async def test_without_a_supervisor_nothing_says_that_it_starts_again(settings: Settings) -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    Record(me, "", AT).save(record_path(settings.folder, "envoy"))
    Care(ends=1, last=End(1, AT), next_at=time.time() + 60).save(care_path(settings.folder, "hub"))
    found = await look(settings)
    assert found["services"]["hub"]["next_try"] is None
    said = text(found, "en", "d")
    assert "dure up" in said
    assert "starts again" not in said


async def test_a_supervisor_that_was_killed_is_told(settings: Settings) -> None:
    found = await seen(settings, "hub", None)
    for why, words in (("killed", "without a word"), ("rebooted", "a reboot")):
        found["lost"] = {"times": 3, "why": why, "found_at": AT}
        row = next(one for one in text(found, "en", "d").splitlines() if one.startswith("  supervisor"))
        assert words in row
        assert " 3 " in row


def test_columns_stand_where_korean_letters_are_wide() -> None:
    rows = table([HEADS["ko"], ("hub", "응답함", "1", "x", "0", "y"), ("envoy", "a", "22", "x", "0", "y")])
    assert len({width(row[: row.index("x")]) for row in rows[1:]}) == 1
