"""`dure user`: people who log in by password. Each acts on the portal of this machine, up or not."""

from __future__ import annotations

import argparse
import json
import sys

from dure.errors import reader_language as language
from dure_hub.supervisor import prepare, restoring

WORDS = {
    "added": {"en": "Added {name}.", "ko": "{name}을(를) 추가했습니다."},
    "added_admin": {"en": "Added the administrator {name}.", "ko": "관리자 {name}을(를) 추가했습니다."},
    "reset": {"en": "{name} has a new password.", "ko": "{name}의 비밀번호를 바꾸었습니다."},
    "paused": {
        "en": "Paused schedules, for their owner to look at and resume: {names}.",
        "ko": "일시 중지한 스케줄: {names}. 소유자가 확인한 뒤 다시 시작할 수 있습니다.",
    },
    "password": {
        "en": "Password: {password}\nIt is shown once; {name} can change it after the login.",
        "ko": "비밀번호: {password}\n한 번만 표시됩니다. {name} 님은 로그인 후 바꿀 수 있습니다.",
    },
    "disabled": {
        "en": "{name} can no longer log in.",
        "ko": "{name} 님은 더 이상 로그인할 수 없습니다.",
    },
    "later": {
        "en": "Not reached now, and ended at its next check: {parts}.",
        "ko": "지금 연결되지 않아 다음 확인 때 종료됩니다: {parts}.",
    },
    "administrator": {"en": "administrator", "ko": "관리자"},
    "off": {"en": "disabled", "ko": "사용 중지"},
    "nobody": {
        "en": "There is nobody yet. Add one: dure user add NAME",
        "ko": "아직 아무도 없습니다. 추가: dure user add 이름",
    },
}


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says."""
    if arguments.verb != "list":
        restoring.refuse(prepare.settle(data=arguments.data).folder.root)
    return {"add": _add, "reset": _reset, "disable": _disable, "list": _list}[arguments.verb](arguments)


def _add(arguments: argparse.Namespace) -> int:
    from dure_hub import authenticator

    settings = prepare.last_settings(data=arguments.data)
    password, shown = _password(arguments)
    authenticator.add_user(settings, arguments.name, password, admin=arguments.admin, actor=prepare.who_types())
    _say("added_admin" if arguments.admin else "added", name=arguments.name)
    if shown:
        _say("password", name=arguments.name, password=password)
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    from dure_hub import authenticator

    settings = prepare.last_settings(data=arguments.data)
    password, shown = _password(arguments)
    paused = authenticator.reset_password(settings, arguments.name, password, prepare.who_types())
    _say("reset", name=arguments.name)
    if paused:
        _say("paused", names=", ".join(paused))
    if shown:
        _say("password", name=arguments.name, password=password)
    return 0


def _disable(arguments: argparse.Namespace) -> int:
    from dure_hub import authenticator

    settings = prepare.last_settings(data=arguments.data)
    later = authenticator.disable_user(settings, arguments.name, prepare.who_types())
    _say("disabled", name=arguments.name)
    if later:
        _say("later", parts=", ".join(later))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from dure_hub import authenticator

    people = authenticator.list_users(prepare.last_settings(data=arguments.data))
    if arguments.json:
        print(json.dumps([{"name": p.name, "admin": p.admin, "disabled": p.disabled} for p in people]))
        return 0
    for person in people:
        notes = [_word("administrator")] * person.admin + [_word("off")] * person.disabled
        print(person.name + (f" ({', '.join(notes)})" if notes else ""))
    if not people:
        _say("nobody")
    return 0


def _password(arguments: argparse.Namespace) -> tuple[str, bool]:
    """The password to set, and whether it is ours to show."""
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n"), False
    return prepare.new_password(), True


def _word(key: str, **facts: str) -> str:
    return WORDS[key][language()].format(**facts)


def _say(key: str, **facts: str) -> None:
    print(_word(key, **facts))
