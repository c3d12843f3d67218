"""Sentences about money, in every language, from the codes and facts of policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dure.errors import LANGUAGES, Text, fill

MICRO = 1_000_000
_MONEY = ("cost", "would_cost", "saved", "spent", "expected", "low", "high", "running", "amount", "asked")
"""Facts that are micro-units."""
SENTENCES: Mapping[str, Text] = {
    "smaller_profile": {
        "en": "{owner} held {profile} for {hours} h at {memory_percent} % of its memory at most; {instead} would "
        "have cost {saved_percent} % less ({would_cost} instead of {cost}).",
        "ko": "{owner} 님은 {profile}을(를) {hours}시간 점유했고 메모리를 최대 {memory_percent} % 썼습니다. "
        "{instead}였다면 {saved_percent} % 적게 들었습니다({cost} 대신 {would_cost}).",
    },
    "idle_held": {
        "en": "{owner} held {profile} for {hours} h; in the {measured_hours} h that were measured its GPU was "
        "busy {busy_percent} % of the time. {saved} of {cost} was for {idle_hours} h without work.",
        "ko": "{owner} 님은 {profile}을(를) {hours}시간 점유했고, 측정된 {measured_hours}시간 중 GPU가 일한 "
        "비율은 {busy_percent} %입니다. {cost} 중 {saved}은(는) 일이 없던 {idle_hours}시간의 비용입니다.",
    },
    "busy_known": {
        "en": "Its GPU was busy {busy_percent} % of the time.",
        "ko": "GPU가 일한 비율은 {busy_percent} %입니다.",
    },
    "busy_unknown": {
        "en": "How busy its GPU was is unknown: work on the smaller one may take longer.",
        "ko": "GPU가 얼마나 일했는지는 알 수 없어, 더 작은 것에서는 작업이 오래 걸릴 수 있습니다.",
    },
    "forecast": {
        "en": "{month} will come to about {expected} at its end; four of five such months end between {low} and "
        "{high}. {spent} is spent so far.",
        "ko": "{month} 말에는 약 {expected}이(가) 될 것으로 보입니다. 이런 달 다섯 번 중 네 번은 {low}에서 {high} "
        "사이로 끝납니다. 지금까지 {spent}을(를) 썼습니다.",
    },
    "too_few_days": {
        "en": "There are {days} whole days of data, and a forecast takes {needed}. {spent} is spent so far.",
        "ko": "온전한 하루의 기록이 {days}일뿐입니다. 예측에는 {needed}일이 필요합니다. 지금까지 {spent}을(를) "
        "썼습니다.",
    },
    "unpriced": {
        "en": "{unpriced_hours} h were held at an unknown price and are in no figure.",
        "ko": "가격을 알 수 없는 {unpriced_hours}시간은 어느 금액에도 들어 있지 않습니다.",
    },
}


def both(codes: list[str], facts: Mapping[str, Any]) -> dict[str, str]:
    """The sentences of these codes, one after the other, in every language."""
    shown = {
        name: money(value) if name in _MONEY and value is not None else value for name, value in facts.items()
    }
    return {language: " ".join(fill(SENTENCES[code], language, shown) for code in codes) for language in LANGUAGES}


def money(micro: float) -> str:
    """Micro-units as people write money; the currency is that of the rates."""
    return f"{micro / MICRO:,.2f}"
