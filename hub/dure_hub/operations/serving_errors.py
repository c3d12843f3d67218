"""What can be in the way of a rollout."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.policies.verdict import Verdict


class ChampionNotReady(DureError):
    """A canary needs a champion that answers."""

    code, status = "champion_not_ready", 409
    message: ClassVar[Text] = {
        "en": "The champion of {endpoint} does not answer yet, so nothing can be tried beside it.",
        "ko": "{endpoint}의 champion이 아직 응답하지 않아 canary를 시작할 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait for it with `endpoint.wait()`.",
        "ko": "`endpoint.wait()`로 준비될 때까지 기다리세요.",
    }


class CanaryRuns(DureError):
    """One canary at a time."""

    code, status = "canary_runs", 409
    message: ClassVar[Text] = {
        "en": "Version {version} is on trial at {endpoint}; {asked} can be tried after it.",
        "ko": "{endpoint}에서 버전 {version}을(를) 시험하고 있습니다. {asked}은(는) 그 뒤에 시험할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Promote it or roll it back first.",
        "ko": "먼저 승격(promote)하거나 되돌리세요(rollback).",
    }


class NoCanary(DureError):
    """There is nothing to promote or to roll back."""

    code, status = "no_canary", 409
    message: ClassVar[Text] = {"en": "{endpoint} has no canary.", "ko": "{endpoint}에는 canary가 없습니다."}
    next_step: ClassVar[Text] = {
        "en": "Start one with `endpoint.canary(version, percent)`.",
        "ko": "`endpoint.canary(version, percent)`로 시작하세요.",
    }


class CanaryNotReady(DureError):
    """Only a version that answers takes over."""

    code, status = "canary_not_ready", 409
    message: ClassVar[Text] = {
        "en": "Version {version} does not answer at {endpoint} (it is {phase}), so it is not promoted.",
        "ko": "{endpoint}의 버전 {version}이(가) 응답하지 않아({phase}) 승격하지 않았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait for it with `endpoint.wait()`, or roll it back.",
        "ko": "`endpoint.wait()`로 기다리거나 rollback 하세요.",
    }


_ERRORS: dict[str, type[DureError]] = {
    error.code: error for error in (ChampionNotReady, CanaryRuns, NoCanary, CanaryNotReady)
}


def demand(verdict: Verdict, endpoint: str) -> None:
    """Raise the error of a verdict that refuses."""
    if not verdict.allowed:
        raise _ERRORS[verdict.code](endpoint=endpoint, **verdict.facts)
