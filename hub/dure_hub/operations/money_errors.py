"""What quotas and budgets refuse, in the words of who asked for it."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.operations.errors import OverBudget, QuotaTooSmall
from dure_hub.operations.money_words import money
from dure_hub.operations.people import Person
from dure_hub.policies.verdict import Verdict

_UNITS: dict[str, Text] = {
    "quota_api_calls": {"en": "API calls a day", "ko": "하루 API 호출"},
    "quota_upload": {"en": "MiB of uploads a month", "ko": "한 달 업로드(MiB)"},
}


class OverQuota(DureError):
    """A quota of calls or uploads is used up."""

    code, status = "over_quota", 429
    message: ClassVar[Text] = {
        "en": "The {kind} {name} has used {used} of {limit} {unit}.",
        "ko": "{name}({kind})의 {unit} 한도 {limit} 중 {used}을(를) 썼습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "It begins anew at {resets_at}; an administrator can raise it with `dure quotas`. Nothing was done.",
        "ko": "{resets_at}에 다시 쓸 수 있고, 관리자는 `dure quotas`로 한도를 늘릴 수 있습니다. "
        "처리된 것은 없습니다.",
    }


class OverUnseenBudget(DureError):
    """A budget refuses a launch of somebody who may not see it: they are in its team no more."""

    code, status = "over_unseen_budget", 402
    message: ClassVar[Text] = {
        "en": "The budget of the {kind} {name} does not pay for this.",
        "ko": "{name}({kind})의 예산으로는 이 비용을 낼 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "You are not in its team, so its figures are not shown; ask somebody who is. Nothing was started.",
        "ko": "그 팀에 속해 있지 않아 금액은 보이지 않습니다. 팀에 있는 사람에게 물어보세요. "
        "시작된 것은 없습니다.",
    }


class NoGpuHours(DureError):
    """The quota has no GPU-hours in any month, so waiting would not help."""

    code, status = "no_gpu_hours", 422
    message: ClassVar[Text] = {
        "en": "The quota of the {kind} {name} has no GPU-hours at all.",
        "ko": "{name}({kind})은(는) GPU를 쓸 수 없습니다(한 달 한도 0시간).",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a profile without a GPU, or ask an administrator for GPU-hours. Nothing was started.",
        "ko": "GPU가 없는 프로필을 고르거나 관리자에게 GPU 시간을 달라고 하세요. 시작된 것은 없습니다.",
    }


class TooManyRows(DureError):
    """More quotas or budgets than are kept."""

    code, status = "too_many_rows", 409
    message: ClassVar[Text] = {
        "en": "There are {limit} of them already, which is the most.",
        "ko": "이미 {limit}개가 있습니다. 더 만들 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Take one away that is no longer needed; a quota named * is that of everybody without one.",
        "ko": "필요 없는 것을 지우세요. 이름이 *인 한도는 따로 정하지 않은 모두에게 적용됩니다.",
    }


def over_quota(verdict: Verdict) -> OverQuota:
    """The error of a refused call or upload."""
    return OverQuota(**verdict.facts, unit=_UNITS[verdict.code])


def quota_too_small(verdict: Verdict) -> QuotaTooSmall | NoGpuHours:
    """The error of a start that its quota will never allow."""
    kind = NoGpuHours if verdict.code == "quota_no_gpu_hours" else QuotaTooSmall
    return kind(**verdict.facts)


def over_budget(verdict: Verdict, person: Person | None = None) -> OverBudget | OverUnseenBudget:
    """The error of a launch that a budget refuses, with the cheaper profile where there is one.

    It has no figures where the `person` who reads it may not see that budget; None is who has just been charged
    to one of their own teams.
    """
    facts = verdict.facts
    if person is not None and not person.sees_budget(facts["kind"], facts["name"]):
        return OverUnseenBudget(kind=facts["kind"], name=facts["name"])
    cheaper = facts.get("cheaper")
    if cheaper is not None:
        english = f"{cheaper['profile']} would fit: it comes to {money(cheaper['comes_to'])} for as long."
        korean = f"{cheaper['profile']}은(는) 가능합니다. 같은 시간에 {money(cheaper['comes_to'])}이(가) 듭니다."
    else:
        hours = facts["affordable_s"] / 3600
        english = f"At most {hours:.1f} h of this profile can be paid: ask for less, or for a larger budget."
        korean = f"이 프로필은 최대 {hours:.1f}시간까지 가능합니다. 시간을 줄이거나 예산을 늘려 달라고 하세요."
    shown = {name: money(facts[name]) for name in ("amount", "spent", "committed", "left", "comes_to")}
    return OverBudget(
        **{**facts, **shown}, micro={name: facts[name] for name in shown}, instead_en=english, instead_ko=korean
    )
