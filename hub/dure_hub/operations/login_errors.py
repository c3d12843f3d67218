"""What can go wrong with a login that a provider vouches for."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class LoginEnded(DureError):
    """The login provider confirms them no more: nothing new begins, and no end is moved."""

    code, status = "login_ended", 403
    message: ClassVar[Text] = {
        "en": "The login provider does not confirm {user} any more. What runs is ended at {at}.",
        "ko": "로그인 제공자가 {user} 님을 더 이상 확인해 주지 않습니다. 실행 중인 것은 {at}에 종료됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Save your work. If this is a mistake, sign out and in again before then: it goes on as before.",
        "ko": "작업을 저장하세요. 착오라면 그 전에 로그아웃했다가 다시 로그인하면 그대로 계속됩니다.",
    }


class TeamLeft(DureError):
    """The team that pays for it is theirs no more, so its end is not moved."""

    code, status = "team_left", 403
    message: ClassVar[Text] = {
        "en": "{user} is no longer in the team {team}, which pays for this server. It ends at {at}.",
        "ko": "{user} 님은 이 서버의 비용을 내는 {team} 팀에 더 이상 속해 있지 않습니다. {at}에 종료됩니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Save your work, and start a new server for a team of yours.",
        "ko": "작업을 저장하고, 속해 있는 팀으로 새 서버를 시작하세요.",
    }


class NameOfAnother(DureError):
    """The provider gives a name to somebody that it once gave to somebody else."""

    code, status = "name_of_another", 403
    message: ClassVar[Text] = {
        "en": "The name {name} belongs to another account of the login provider here.",
        "ko": "{name}(이)라는 이름은 이 포털에서 로그인 제공자의 다른 계정 것입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask an administrator: if it is the same person, `dure logins --forget {name}` lets the account in.",
        "ko": "관리자에게 문의하세요. 같은 사람이면 `dure logins --forget {name}` 후 로그인할 수 있습니다.",
    }


class BadLoginName(DureError):
    """A name of the provider's that cannot be one here."""

    code, status = "bad_login_name", 403
    message: ClassVar[Text] = {
        "en": "The login provider calls you {name}, which cannot be a name here: it must match {rule}.",
        "ko": "로그인 제공자가 알려 준 이름 {name}은(는) 쓸 수 없습니다. {rule} 형식이어야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Ask an administrator to name another claim or attribute in the portal's settings.",
        "ko": "관리자에게 포털 설정에서 다른 항목을 이름으로 쓰도록 요청하세요.",
    }


class ProviderAway(DureError):
    """The provider does not answer, or not in a way that says anything about the person."""

    code, status = "provider_away", 503
    message: ClassVar[Text] = {
        "en": "The login provider does not answer right now ({why}).",
        "ko": "로그인 제공자가 지금 응답하지 않습니다({why}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again in a minute. Whoever is signed in goes on; tell an administrator if it stays so.",
        "ko": "잠시 후 다시 시도하세요. 로그인한 사람은 계속 쓸 수 있습니다. 계속되면 관리자에게 알려 주세요.",
    }


class LoginUnproven(DureError):
    """What the provider said about a login does not hold: its token, its audience, its nonce."""

    code, status = "login_unproven", 403
    message: ClassVar[Text] = {
        "en": "The login provider's answer was not accepted: {why}.",
        "ko": "로그인 제공자의 응답을 받아들일 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start the login again; if it stays so, tell an administrator this sentence.",
        "ko": "처음부터 다시 로그인하세요. 계속되면 이 문장을 관리자에게 알려 주세요.",
    }
