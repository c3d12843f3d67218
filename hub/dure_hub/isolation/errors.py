"""What can go wrong with accounts of the system."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class AccountTaken(DureError):
    """There is a user of that name that this portal did not make."""

    code, status = "account_taken", 409
    message: ClassVar[Text] = {
        "en": "The system's user {name} is there already and not this portal's: its home is {home}.",
        "ko": "운영체제 사용자 {name}이(가) 이미 있지만 이 포털의 것이 아닙니다. 홈 폴더: {home}",
    }
    next_step: ClassVar[Text] = {
        "en": "An administrator removes or renames it, or sets another `system_account_prefix` in dure.yaml.",
        "ko": "관리자가 이 사용자를 지우거나 dure.yaml의 `system_account_prefix`를 바꿔야 합니다.",
    }


class AccountFailed(DureError):
    """The system did not make a user, or a home could not be handed over."""

    code, status = "account_failed", 503
    message: ClassVar[Text] = {
        "en": "The operating-system user {name} could not be made ready: {why}.",
        "ko": "운영체제 사용자 {name}을(를) 준비하지 못했습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Nothing was started. Show an administrator this sentence.",
        "ko": "아무것도 시작하지 않았습니다. 관리자에게 이 문장을 보여 주세요.",
    }


class NoGroundForAccounts(DureError):
    """`system_accounts` is on, and this machine does not allow it."""

    code, status = "no_ground_for_accounts", 409
    message: ClassVar[Text] = {
        "en": "`system_accounts` is on, but people cannot have accounts of the system here: {why}",
        "ko": "`system_accounts`가 켜져 있지만 이 머신에서는 사람마다 시스템 계정을 둘 수 없습니다: {why}",
    }
    next_step: ClassVar[Text] = {
        "en": "Change that, or set `system_accounts: off`; then everybody's servers run as one user.",
        "ko": "이를 고치거나 `system_accounts: off`로 설정하세요. 그러면 모든 서버가 한 사용자로 실행됩니다.",
    }
