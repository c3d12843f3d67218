"""What `dure service` says, and what can keep it from installing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dure.errors import DureError, Text

WORDS: Mapping[str, Text] = {
    "written": {"en": "Wrote {path}.", "ko": "{path}을(를) 작성했습니다."},
    "started": {
        "en": "It starts with the machine, and runs now. Look: {systemctl} status {name}   dure status",
        "ko": "머신과 함께 시작되며 지금 실행 중입니다. 확인: {systemctl} status {name}   dure status",
    },
    "runs_already": {
        "en": "The portal of {data} is up already, started by hand. From the next boot on the service starts it; "
        "to hand it over now (people's work ends as with every `dure down`): "
        "dure down && {systemctl} start {name}",
        "ko": "{data}의 포털이 이미 직접 실행되어 있습니다. 다음 부팅부터 서비스가 시작합니다. 지금 넘기려면"
        "(`dure down`처럼 실행 중인 작업이 끝납니다): dure down && {systemctl} start {name}",
    },
    "linger": {
        "en": "A service of your own ends when you log out, and starts only when you log in, unless you let it "
        "linger: loginctl enable-linger {user}",
        "ko": "개인 서비스는 로그아웃하면 종료되고 로그인해야 시작됩니다. 계속 실행하려면: "
        "loginctl enable-linger {user}",
    },
    "variables": {
        "en": "Not taken over from this shell: {names}. Put what they say into {data}/dure.yaml.",
        "ko": "이 셸의 변수는 넘겨지지 않습니다: {names}. 값을 {data}/dure.yaml에 적으세요.",
    },
    "removed": {
        "en": "The service {name} is gone, and the portal is down. Its data stays in {data}.",
        "ko": "서비스 {name}을(를) 제거하고 포털을 종료했습니다. 데이터는 {data}에 남아 있습니다.",
    },
    "none": {"en": "There is no {path}; nothing to remove.", "ko": "{path}이(가) 없어 제거할 것이 없습니다."},
    "restarting": {
        "en": "A restart: what runs goes on, and the next supervisor takes it over.",
        "ko": "재시작: 실행 중인 것은 계속되고 다음 감독 프로세스가 이어받습니다.",
    },
}


class NoSystemd(DureError):
    """Nothing here would read the unit."""

    code, status = "no_systemd", 501
    message: ClassVar[Text] = {
        "en": "This machine was not booted with systemd, so no service can be installed. Above is the unit that "
        "it would get.",
        "ko": "이 머신은 systemd로 부팅되지 않아 서비스를 설치할 수 없습니다. 위는 설치될 유닛입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Use `dure up --detach` (from cron: @reboot), or have your own service manager run `dure up`.",
        "ko": "`dure up --detach`를 쓰거나(cron에서는 @reboot) 다른 서비스 관리자로 `dure up`을 실행하세요.",
    }


class NotRoot(DureError):
    """A system unit lies where only root may write."""

    code, status = "not_root", 403
    message: ClassVar[Text] = {
        "en": "Only root may install or remove a service of the whole machine ({path}).",
        "ko": "시스템 서비스({path})는 root만 설치하거나 제거할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Leave --system out for a service of your own, or run this as root.",
        "ko": "--system 없이 개인 서비스로 설치하거나 root로 실행하세요.",
    }


class UnitTaken(DureError):
    """A file of that name is there, and not for this data folder, or not ours."""

    code, status = "unit_taken", 409
    message: ClassVar[Text] = {
        "en": "{path} is there already and is not the service of {data}. Nothing was changed.",
        "ko": "{path}이(가) 이미 있으며 {data}의 서비스가 아닙니다. 변경된 것은 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Give this one another name: --name dure-2",
        "ko": "다른 이름을 지정하세요: --name dure-2",
    }


class BadUnitName(DureError):
    """systemd takes few letters in a name."""

    code, status = "bad_unit_name", 422
    message: ClassVar[Text] = {
        "en": "A service cannot be named {name}: letters, digits, `-` and `_` are what a name has, 64 at most.",
        "ko": "서비스 이름 {name}은(는) 쓸 수 없습니다. 영문자, 숫자, `-`, `_`로 64자까지입니다.",
    }
    next_step: ClassVar[Text] = {"en": "For example: --name dure", "ko": "예: --name dure"}


class SystemctlRefused(DureError):
    """What systemctl said when it did not do what it was asked."""

    code, status = "systemctl_refused", 502
    message: ClassVar[Text] = {
        "en": "`{command}` failed: {said}",
        "ko": "`{command}` 실패: {said}",
    }
    next_step: ClassVar[Text] = {
        "en": "The unit is at {path}. For a service of your own, log in directly (ssh, not su), or set "
        "XDG_RUNTIME_DIR=/run/user/$(id -u). `journalctl -u {name}` has what the portal said.",
        "ko": "유닛은 {path}에 있습니다. 개인 서비스라면 su 대신 직접 로그인(ssh)하거나 "
        "XDG_RUNTIME_DIR=/run/user/$(id -u)를 설정하세요. 포털의 출력은 `journalctl -u {name}`에 있습니다.",
    }
