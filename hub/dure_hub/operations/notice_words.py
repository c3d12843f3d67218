"""Sentences of notices, in every language, from codes and facts. Plain text: never read as HTML or markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dure.errors import LANGUAGES, Text, fill
from dure_hub.operations.money_words import money

_MONEY = ("spent", "amount")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
SENTENCES: Mapping[str, Text] = {
    "turn_held": {
        "en": "The turn of {name} has come: its place is kept for you until {until}.",
        "ko": "{name} 차례가 되었습니다. {until}까지 자리를 잡아 둡니다.",
    },
    "turn_passing": {
        "en": "The place of {name} goes to the next at {until}, unless you start it.",
        "ko": "시작하지 않으면 {until}에 {name}의 자리가 다음 사람에게 넘어갑니다.",
    },
    "turn_passed": {
        "en": "The place of {name} went to the next, since nobody started it in time.",
        "ko": "제시간에 시작하지 않아 {name}의 자리를 다음 사람에게 넘겼습니다.",
    },
    "turn_started": {
        "en": "{name} had waited for its turn, and runs now.",
        "ko": "차례를 기다리던 {name}이(가) 시작되었습니다.",
    },
    "waited_too_long": {
        "en": "{name} got no place within the time that a request may wait.",
        "ko": "{name}은(는) 대기할 수 있는 시간 안에 자리를 얻지 못했습니다.",
    },
    "ending": {
        "en": "{name} ends at {until}, in less than {minutes} min. Save your work, or extend it.",
        "ko": "{name}이(가) {until}에 종료됩니다({minutes}분 이내). 작업을 저장하거나 연장하세요.",
    },
    "ending_idle": {
        "en": "Nobody uses {name}; it ends at {until} unless somebody does.",
        "ko": "아무도 {name}을(를) 쓰지 않습니다. 쓰지 않으면 {until}에 종료됩니다.",
    },
    "stop_set": {
        "en": "{who} ends {name} at {until}. Why: {why} Save your work until then.",
        "ko": "{who} 님이 {until}에 {name}을(를) 종료합니다. 이유: {why} 그때까지 작업을 저장하세요.",
    },
    "stop_set_unsaid": {
        "en": "{who} ends {name} at {until}. Save your work until then.",
        "ko": "{who} 님이 {until}에 {name}을(를) 종료합니다. 그때까지 작업을 저장하세요.",
    },
    "stopped": {"en": "{name} has ended. {reason}", "ko": "{name}이(가) 종료되었습니다. {reason}"},
    "start_failed": {
        "en": "{name} could not be started. {reason}",
        "ko": "{name}을(를) 시작하지 못했습니다. {reason}",
    },
    "budget_alert": {
        "en": "{percent} % of this month's budget of the {kind} {name} is spent: {spent} of {amount}.",
        "ko": "{name}({kind})의 이번 달 예산 중 {percent} %를 썼습니다: {amount} 중 {spent}.",
    },
    "quota_near": {
        "en": "{percent} % of a limit of the {kind} {name} is used ({limit}): {used} of {quota}.",
        "ko": "{name}({kind})의 한도({limit}) 중 {percent} %를 썼습니다: {quota} 중 {used}.",
    },
    "device_unhealthy": {
        "en": "The GPU {device} is unhealthy. What runs on it may fail: save your work. {reason}",
        "ko": "GPU {device}에 이상이 있습니다. 실행 중인 작업이 실패할 수 있으니 저장하세요. {reason}",
    },
    "job_failed": {"en": "The job {name} has failed. {reason}", "ko": "작업 {name}이(가) 실패했습니다. {reason}"},
    "execution_failed": {
        "en": "Execution {number} of the schedule {name} has failed. {reason}",
        "ko": "스케줄 {name}의 {number}번 실행이 실패했습니다. {reason}",
    },
    "schedule_paused": {
        "en": "The schedule {name} was paused. {reason}",
        "ko": "스케줄 {name}이(가) 일시 중지되었습니다. {reason}",
    },
    "endpoint_failed": {
        "en": "The endpoint {name} serves nothing any more. {reason}",
        "ko": "엔드포인트 {name}이(가) 더 이상 응답하지 않습니다. {reason}",
    },
    "endpoint_ended": {
        "en": "The endpoint {name} has ended. {reason}",
        "ko": "엔드포인트 {name}이(가) 종료되었습니다. {reason}",
    },
    "canary_failed": {
        "en": "The canary of {name}, version {version}, has failed. {reason}",
        "ko": "{name}의 카나리(버전 {version})가 실패했습니다. {reason}",
    },
    "rolled_back": {
        "en": "{who} rolled back the canary of {name}, version {version}.",
        "ko": "{who}이(가) {name}의 카나리(버전 {version})를 되돌렸습니다.",
    },
    "test": {"en": "This is a test: notices reach you here.", "ko": "시험 알림입니다. 여기에서 알림을 받습니다."},
}
TITLES: Mapping[str, Text] = {
    "turn": {"en": "Your turn", "ko": "차례 알림"},
    "ending": {"en": "A server is about to end", "ko": "서버 종료 예정"},
    "stopped": {"en": "A server has ended", "ko": "서버 종료됨"},
    "limit": {"en": "A limit is near", "ko": "한도 임박"},
    "device": {"en": "A GPU is unhealthy", "ko": "GPU 이상"},
    "job": {"en": "A job has failed", "ko": "작업 실패"},
    "schedule": {"en": "A schedule has failed", "ko": "스케줄 실행 실패"},
    "endpoint": {"en": "An endpoint has failed", "ko": "엔드포인트 이상"},
    "test": {"en": "Test", "ko": "시험"},
}
"""By kind: the subject of a mail."""


def sentence(code: str, facts: Mapping[str, Any], language: str) -> str:
    """The sentence; its times are those of UTC (`2026-01-31T18:00:00Z`), for whoever knows the reader's zone.

    A fact in every language is a mapping of them. A code that this version does not know is shown as it is.
    """
    shown = {name: _shown(name, value, language) for name, value in facts.items()}
    texts = SENTENCES.get(code)
    return code if texts is None else " ".join(fill(texts, language, shown).split())


def both(code: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The same in every language."""
    return {language: sentence(code, facts, language) for language in LANGUAGES}


def title(kind: str, language: str) -> str:
    """What it is about, in a few words."""
    texts = TITLES.get(kind)
    return kind if texts is None else texts.get(language, texts["en"])


def in_zone(text: str, timezone: str | None) -> str:
    """A sentence with its times in a zone, which is named; UTC where none is known."""
    zone = ZoneInfo(timezone) if timezone else UTC

    def local(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]).astimezone(zone)
        return f"{at:%Y-%m-%d %H:%M} ({timezone or 'UTC'})"

    return _TIME.sub(local, text)


def moment(at: datetime) -> str:
    """A time as facts keep it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(name: str, value: Any, language: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(language, value.get("en", ""))
    if name in _MONEY and isinstance(value, int):
        return money(value)
    return "" if value is None else value
