"""How far a start is, as the hub is told."""

from __future__ import annotations

import asyncio
from typing import Any

from dure.errors import DureError
from dure_hub.operations import reasons
from dure_hub.operations.progress import STEPS, Progress, sentence_of
from dure_hub.spawners.steps import PERCENT, Steps, why
from dure_hub.spawners.waiting import ServerEnded, ServerSilent
from tests.support.world import HandClock


async def collect(steps: Steps, into: asyncio.Queue[dict[str, Any]]) -> None:
    async for step in steps.follow("en"):
        into.put_nowait(step)


async def take(number: int, queue: asyncio.Queue[dict[str, Any]]) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        return [await queue.get() for _ in range(number)]


async def test_whoever_follows_gets_every_step_once_however_late() -> None:
    steps = Steps()
    early: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    late: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    following = [asyncio.create_task(collect(steps, early))]
    for code in ("placed", "folder", "placed", "held_back", "process"):
        steps.add(code)
    told = await take(4, early)
    following.append(asyncio.create_task(collect(steps, late)))
    steps.add("answers")
    told += await take(1, early)
    assert await take(5, late) == told
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    assert [one["code"] for one in told] == ["placed", "folder", "held_back", "process", "answers"]
    assert [one["progress"] for one in told] == sorted(PERCENT.values())
    assert early.empty()
    assert late.empty()


def test_every_step_has_a_sentence_in_both_languages() -> None:
    assert set(PERCENT) <= set(STEPS)
    assert all(set(text) == {"en", "ko"} for text in STEPS.values())


def test_why_a_start_failed_is_said_in_any_language() -> None:
    ended = why(ServerEnded(exit_code=-9, last="secret words"), "en")
    assert reasons.sentence(ended, "ko") == "서버가 응답하기 전에 코드 -9(으)로 종료되었습니다."
    assert (
        reasons.sentence(why(ServerSilent(seconds=120), "en"))
        == "It did not answer within 2 minutes, and was stopped."
    )
    assert "unknown" not in (reasons.sentence(why(ServerEnded(exit_code=None, last="-"), "en")) or "")
    other: DureError = DureError()
    assert why(other, "ko") == other.text("ko")


def test_what_the_hub_says_is_kept_bounded_and_once() -> None:
    kept, now = Progress(), HandClock()()
    for number in range(1000):
        kept.note(f"lease-{number}", {"progress": 150, "message": "x" * 5000}, now)
    assert kept.of("lease-0") == ()
    (step,) = kept.of("lease-999")
    assert (step.percent, len(step.text["en"])) == (100, 300)
    kept.note("lease-999", {"progress": 100, "message": "x" * 5000}, now)
    assert len(kept.of("lease-999")) == 1
    kept.note("lease-999", {"ready": True, "message": "Server ready at /user/ana/"}, now)
    assert kept.of("lease-999")[-1].text["ko"] == "준비되었습니다."


def test_the_hubs_own_words_before_a_failure_are_left_out() -> None:
    assert sentence_of("Spawn failed: No room.") == "No room."
    assert sentence_of("No room.") == "No room."
