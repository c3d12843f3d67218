"""What is said of GPUs that are kept from people, in each language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dure.errors import LANGUAGES, Text, fill
from dure_hub.catalogue.xids import FATAL

_FAULTS: Mapping[str, Text] = {
    "lost": {
        "en": "The driver no longer finds this GPU.",
        "ko": "드라이버가 이 GPU를 더 이상 찾지 못합니다.",
    },
    "xid": {
        "en": "The driver reported XID {xid}: {meaning}.",
        "ko": "드라이버가 XID {xid}을(를) 보고했습니다: {meaning}.",
    },
    "rows": {
        "en": "A memory error could not be repaired.",
        "ko": "메모리 오류를 복구하지 못했습니다.",
    },
    "ecc": {
        "en": "Its memory has uncorrected (double-bit) errors.",
        "ko": "메모리에 정정되지 않은(이중 비트) 오류가 있습니다.",
    },
}
_UNKNOWN: Text = {"en": "It has a fault ({code}).", "ko": "결함이 있습니다({code})."}
_HOLDER: Text = {
    "en": "A GPU of this has a fault. {why} Its time is not charged since then. Save what you need, and start it "
    "again to get another.",
    "ko": "사용 중인 GPU에 결함이 있습니다. {why} 이때부터 사용 시간은 청구하지 않습니다. "
    "필요한 것을 저장하고 다시 시작하면 다른 GPU를 받습니다.",
}
_DRAINS: Text = {
    "en": "The GPU is being cleared for maintenance, so this ends early.",
    "ko": "점검을 위해 GPU를 비우는 중이라 사용이 일찍 끝납니다.",
}
_OUTSIDE: Text = {
    "en": "Used outside Dure, by a process that the portal did not start.",
    "ko": "포털이 시작하지 않은 프로세스가 사용 중입니다.",
}


def fault(code: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with it."""
    meaning = FATAL.get(facts.get("xid", 0), {})
    text = _FAULTS.get(code, _UNKNOWN)
    return {
        language: fill(text, language, {**facts, "code": code, "meaning": meaning.get(language, "?")})
        for language in LANGUAGES
    }


def to_holder(code: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """What who holds it is told."""
    why = fault(code, facts)
    return {language: fill(_HOLDER, language, {"why": why[language]}) for language in LANGUAGES}


def drains(message: str | None) -> dict[str, str]:
    """What who holds one that is being cleared is told; the end itself is that of the lease."""
    return {language: f"{_DRAINS[language]} {message or ''}".strip() for language in LANGUAGES}


def outside() -> dict[str, str]:
    """That somebody else uses it."""
    return {language: _OUTSIDE[language] for language in LANGUAGES}
