"""What can be wrong with a schedule, in the words of who asked for it."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text
from dure_hub.policies.verdict import Verdict


class BadCron(DureError):
    """No time that cron could read."""

    code, status = "cron_field", 422
    message: ClassVar[Text] = {
        "en": "`{cron}` cannot be read: {value} is no {field}.",
        "ko": "`{cron}`을(를) 읽을 수 없습니다. {field} 자리에 {value}은(는) 쓸 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Write minute, hour, day-of-month, month and day-of-week as in crontab(5): `0 9 * * mon-fri` is "
        "nine o'clock on working days. Nothing was changed.",
        "ko": "crontab(5)처럼 분, 시, 일, 월, 요일 순으로 쓰세요. `0 9 * * mon-fri`는 평일 9시입니다. "
        "변경된 것은 없습니다.",
    }


class CronFields(BadCron):
    """Not five fields."""

    code = "cron_fields"
    message: ClassVar[Text] = {
        "en": "`{cron}` has {count} field(s), and a time has five.",
        "ko": "`{cron}`의 항목은 {count}개입니다. 다섯 개여야 합니다.",
    }


class CronNever(BadCron):
    """A day that never comes."""

    code = "cron_never"
    message: ClassVar[Text] = {
        "en": "`{cron}` is a time that never comes: none of its months has such a day.",
        "ko": "`{cron}`에 해당하는 날은 오지 않습니다. 그 달에 없는 날짜입니다.",
    }


class NoSuchTimezone(DureError):
    """No zone of the IANA database."""

    code, status = "no_such_timezone", 422
    message: ClassVar[Text] = {
        "en": "There is no time zone named {timezone}.",
        "ko": "{timezone}(이)라는 시간대가 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Use a name of the IANA database, such as Asia/Seoul, Europe/Berlin or UTC. Nothing was changed.",
        "ko": "Asia/Seoul, Europe/Berlin, UTC처럼 IANA 이름을 쓰세요. 변경된 것은 없습니다.",
    }


class BadNotebook(DureError):
    """A file that cannot be run as a notebook."""

    code, status = "notebook_json", 422
    message: ClassVar[Text] = {
        "en": "{notebook} is not a notebook: it is not valid JSON.",
        "ko": "{notebook}은(는) 노트북이 아닙니다. 올바른 JSON이 아닙니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Open it in JupyterLab, save it there, and send it again. Nothing was changed.",
        "ko": "JupyterLab에서 열어 저장한 뒤 다시 보내세요. 변경된 것은 없습니다.",
    }


class NotebookFormat(BadNotebook):
    """Another format than nbformat 4."""

    code = "notebook_format"
    message: ClassVar[Text] = {
        "en": "{notebook} cannot be read: its nbformat is {found}, and it must be a whole notebook of format 4.",
        "ko": "{notebook}을(를) 읽을 수 없습니다. nbformat이 {found}입니다. 온전한 형식 4 노트북이어야 합니다.",
    }


class NotebookLanguage(BadNotebook):
    """Not Python."""

    code = "notebook_language"
    message: ClassVar[Text] = {
        "en": "{notebook} is written in {language}; only Python notebooks run on schedule.",
        "ko": "{notebook}의 언어는 {language}입니다. 예약 실행은 Python 노트북만 됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a Python kernel for it in JupyterLab and save it. Nothing was changed.",
        "ko": "JupyterLab에서 Python 커널을 고르고 저장하세요. 변경된 것은 없습니다.",
    }


class NotebookLarge(BadNotebook):
    """Too large to look into."""

    code = "notebook_large"
    message: ClassVar[Text] = {
        "en": "{notebook} is larger than {limit_mb} MiB.",
        "ko": "{notebook}이(가) {limit_mb} MiB보다 큽니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Clear its outputs in JupyterLab and save it. Nothing was changed.",
        "ko": "JupyterLab에서 출력을 지우고 저장하세요. 변경된 것은 없습니다.",
    }


class BadParameter(DureError):
    """A name that cannot be a variable's."""

    code, status = "parameter_name", 422
    message: ClassVar[Text] = {
        "en": "{name} cannot be a parameter: it is not a name that a Python variable can have.",
        "ko": "{name}은(는) 파라미터가 될 수 없습니다. Python 변수 이름이 아닙니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Give only parameters that the notebook's cell tagged `parameters` assigns. Nothing was changed.",
        "ko": "노트북에서 `parameters` 태그가 붙은 셀이 정의한 파라미터만 쓰세요. 변경된 것은 없습니다.",
    }


class ParameterUnknown(BadParameter):
    """A name that the notebook does not declare."""

    code = "parameter_unknown"
    message: ClassVar[Text] = {
        "en": "{notebook} has no parameter named {name}. It has: {declared}.",
        "ko": "{notebook}에 {name}(이)라는 파라미터가 없습니다. 있는 것: {declared}.",
    }


class ParameterType(BadParameter):
    """A value of another type."""

    code = "parameter_type"
    message: ClassVar[Text] = {
        "en": "{name} = {value} is {type}, and {notebook} wants {wanted}.",
        "ko": "{name} = {value}의 형은 {type}입니다. {notebook}에는 {wanted}이(가) 필요합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Give a value of this type. Nothing was changed.",
        "ko": "맞는 형의 값을 주세요. 변경된 것은 없습니다.",
    }


class ParameterNumber(BadParameter):
    """Not a number, or without end."""

    code = "parameter_number"
    message: ClassVar[Text] = {
        "en": "{name} = {value} is not accepted: a number must have a value and an end.",
        "ko": "{name} = {value}은(는) 쓸 수 없습니다. 유한한 수여야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Give a finite number. Nothing was changed.",
        "ko": "유한한 수를 주세요. 변경된 것은 없습니다.",
    }


class ParametersSyntax(BadParameter):
    """A parameters cell that is no plain Python."""

    code = "parameters_syntax"
    message: ClassVar[Text] = {
        "en": "The cell tagged `parameters` of {notebook} cannot be read (line {line}).",
        "ko": "{notebook}에서 `parameters` 태그가 붙은 셀을 읽을 수 없습니다({line}행).",
    }
    next_step: ClassVar[Text] = {
        "en": "Keep only plain assignments in it, such as `epochs: int = 3`, without magics. Nothing was changed.",
        "ko": "`epochs: int = 3`처럼 대입문만 남기세요. 매직 명령은 쓸 수 없습니다. 변경된 것은 없습니다.",
    }


class ParametersLarge(ParametersSyntax):
    """A parameters cell beyond all reason."""

    code = "parameters_large"
    message: ClassVar[Text] = {
        "en": "The cell tagged `parameters` of {notebook} is longer than {limit} characters.",
        "ko": "{notebook}에서 `parameters` 태그가 붙은 셀이 {limit}자보다 깁니다.",
    }


class ParametersCell(ParametersSyntax):
    """Tagged, and no code."""

    code = "parameters_cell"
    message: ClassVar[Text] = {
        "en": "The first cell tagged `parameters` of {notebook} is no code cell (cell {cell}).",
        "ko": "{notebook}에서 `parameters` 태그가 붙은 첫 셀이 코드 셀이 아닙니다({cell}번 셀).",
    }
    next_step: ClassVar[Text] = {
        "en": "Tag only the code cell that assigns the parameters. Nothing was changed.",
        "ko": "파라미터를 정의하는 코드 셀에만 태그를 붙이세요. 변경된 것은 없습니다.",
    }


class OwnerGone(DureError):
    """Nobody would answer for what it does."""

    code, status = "owner_gone", 409
    message: ClassVar[Text] = {"en": "{owner}: {why}", "ko": "{owner}: {why}"}
    next_step: ClassVar[Text] = {
        "en": "An administrator can let the owner in again (`dure user reset {owner}`); then resume the schedule.",
        "ko": "관리자가 `dure user reset {owner}`으로 계정을 다시 열면 스케줄을 다시 시작할 수 있습니다.",
    }


class OwnerLeftTeam(DureError):
    """The team that was to pay has nothing to do with its owner any more."""

    code, status = "owner_left_team", 409
    message: ClassVar[Text] = {
        "en": "{owner} is no longer in the team {team}, which pays for this schedule. It was paused.",
        "ko": "{owner} 님은 이 스케줄의 비용을 내는 팀 {team}에 더 이상 속해 있지 않습니다. "
        "스케줄을 일시 중지했습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "An administrator can add {owner} to the team in the hub, and then resume it; or make it anew for "
        "another team. Nothing was started.",
        "ko": "관리자가 허브에서 {owner} 님을 팀에 추가한 뒤 다시 시작하거나, 다른 팀으로 새로 만드세요. "
        "시작된 것은 없습니다.",
    }


class OwnerLostProfile(DureError):
    """The profile is for other teams by now."""

    code, status = "owner_lost_profile", 409
    message: ClassVar[Text] = {
        "en": "{owner} is in none of the teams that the profile {profile} of this schedule is for. It was paused.",
        "ko": "{owner} 님은 이 스케줄의 프로필 {profile}을(를) 쓸 수 있는 팀에 속해 있지 않습니다. "
        "스케줄을 일시 중지했습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "An administrator can add {owner} to such a team, and then resume it; or make it anew on another "
        "profile. Nothing was started.",
        "ko": "관리자가 {owner} 님을 그런 팀에 추가한 뒤 다시 시작하거나, 다른 프로필로 새로 만드세요. "
        "시작된 것은 없습니다.",
    }


class NotKept(DureError):
    """It was there."""

    code, status = "not_kept", 404
    message: ClassVar[Text] = {
        "en": "Notebook and log of {name} are no longer kept: only those of the newest {kept} executions are.",
        "ko": "{name}의 노트북과 로그는 더 이상 보관하지 않습니다. 최근 {kept}개 실행의 것만 보관합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run it again, or ask an administrator to keep more (`executions_kept`).",
        "ko": "다시 실행하거나, 더 많이 보관하도록(`executions_kept`) 관리자에게 요청하세요.",
    }


_ERRORS: dict[str, type[DureError]] = {
    error.code: error
    for error in (
        *(BadCron, CronFields, CronNever, NoSuchTimezone),
        *(BadNotebook, NotebookFormat, NotebookLanguage, NotebookLarge),
        *(BadParameter, ParameterUnknown, ParameterType, ParameterNumber, ParametersSyntax, ParametersLarge),
        ParametersCell,
    )
}
_FIELDS = {
    "minute": {"en": "minute (0-59)", "ko": "분(0-59)"},
    "hour": {"en": "hour (0-23)", "ko": "시(0-23)"},
    "day-of-month": {"en": "day of a month (1-31)", "ko": "일(1-31)"},
    "month": {"en": "month (1-12 or jan-dec)", "ko": "월(1-12 또는 jan-dec)"},
    "day-of-week": {"en": "day of a week (0-7 or sun-sat)", "ko": "요일(0-7 또는 sun-sat)"},
}
_NONE = {"en": "none", "ko": "없음"}


def demand(verdict: Verdict, **facts: str) -> None:
    """Raise the error of a verdict that refuses."""
    if verdict.allowed:
        return
    told = {**facts, **verdict.facts}
    if "field" in told:
        told["field"] = _FIELDS[told["field"]]
    if told.get("declared") == "":
        told["declared"] = _NONE
    raise _ERRORS[verdict.code](**told)
