"""The command about one's own servers: `dure servers` lists them, starts, extends, saves and stops one."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from dure.display import Table, write
from dure.errors import reader_language

HELP = {
    "servers": {
        "en": "your servers; with a name, one of them",
        "ko": "내 서버 목록, 이름을 주면 그 서버",
    },
    "name": {"en": "the server's name", "ko": "서버 이름"},
    "everyone": {"en": "all people's, for administrators", "ko": "모든 사람의 것(관리자 전용)"},
    "owner": {"en": "somebody else's, for administrators", "ko": "다른 사람의 것(관리자 전용)"},
    "start": {
        "en": "ask for it, or start it where its turn has come and its place is held",
        "ko": "시작 요청. 차례가 와서 자리가 확보되어 있으면 바로 시작",
    },
    "extend": {"en": "move its end by so many hours", "ko": "종료 시각을 이만큼(시간) 뒤로 옮김"},
    "until": {
        "en": "move its end to this time, as in 2026-01-31T18:00",
        "ko": "이 시각까지 연장. 예: 2026-01-31T18:00",
    },
    "save": {
        "en": "let open pages save and your own program run; nothing ends",
        "ko": "열린 페이지를 저장하고 내 프로그램 실행. 종료되지 않음",
    },
    "stop": {"en": "stop it, or leave the queue with it", "ko": "중지하거나 대기를 취소"},
    "reason": {
        "en": "with --stop of somebody else's: what they read",
        "ko": "다른 사람의 서버를 중지할 때 보여 줄 이유",
    },
    "now": {
        "en": "with --stop of somebody else's: at once, which needs a --reason; else they are told first",
        "ko": "다른 사람의 서버를 바로 중지(--reason 필요). 없으면 먼저 알린 뒤 중지",
    },
    "profile": {"en": "with --start: what to run on", "ko": "--start와 함께: 실행할 프로필"},
    "hours": {
        "en": "with --start: for how long; the profile's usual time if not given",
        "ko": "--start와 함께: 사용 시간. 없으면 프로필의 기본값",
    },
    "image": {"en": "with --start: what it is made from", "ko": "--start와 함께: 이미지"},
    "team": {
        "en": "with --start: the team that pays; without a name: what is charged to it, for its leads",
        "ko": "--start와 함께: 비용을 내는 팀. 이름 없이 쓰면 그 팀이 비용을 내는 서버(팀 리드용)",
    },
    "project": {"en": "with --start: the project in that team", "ko": "--start와 함께: 그 팀의 프로젝트"},
}
HELD = {
    "en": "its place is held as it was asked for; start it without this, or --stop it first and ask anew",
    "ko": "요청한 그대로 자리가 확보되어 있습니다. 이 옵션 없이 시작하거나 --stop으로 취소한 뒤 다시 요청하세요",
}
_OF_START = ("profile", "hours", "image", "team", "project")


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "servers", help=_help("servers"), description=_help("servers")
    )
    parser.add_argument("name", nargs="?", help=_help("name"))
    parser.add_argument("--everyone", action="store_true", help=_help("everyone"))
    parser.add_argument("--owner", metavar="NAME", help=_help("owner"))
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--start", action="store_true", help=_help("start"))
    verbs.add_argument("--extend", type=float, metavar="HOURS", help=_help("extend"))
    verbs.add_argument("--until", type=_time, metavar="TIME", help=_help("until"))
    verbs.add_argument("--save", action="store_true", help=_help("save"))
    verbs.add_argument("--stop", action="store_true", help=_help("stop"))
    parser.add_argument("--reason", help=_help("reason"))
    parser.add_argument("--now", action="store_true", help=_help("now"))
    parser.add_argument("--hours", type=float, help=_help("hours"))
    for word in ("profile", "image", "team", "project"):
        parser.add_argument(f"--{word}", help=_help(word))
    parser.set_defaults(run=_servers, parser=parser)


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _servers(arguments: argparse.Namespace) -> int:
    from dure import environments

    name, owner = arguments.name, arguments.owner
    _check(arguments)
    if name is None:
        write(f"{environments.list(everyone=arguments.everyone, team=arguments.team)!r}\n")
    elif arguments.stop:
        environments.stop(name, owner, arguments.reason, now=arguments.now)
    elif arguments.save:
        write(f"{environments.checkpoint(name, owner)!r}\n")
    elif arguments.start:
        write(f"{Table([_started(arguments)], environments.COLUMNS)!r}\n")
    elif arguments.extend is not None or arguments.until is not None:
        found = environments.extend(name, arguments.until, arguments.extend, owner)
        write(f"{Table([found.lease], ('profile', 'until'))!r}\n")
    else:
        found = environments.get(name, owner)
        write(f"{Table([found], environments.COLUMNS)!r}\n")
        if found.lease is not None:
            write(f"\n{Table([found.lease], ('profile', 'granted_at', 'until'))!r}\n")
        if found.checks:
            write(f"\n{Table(found.checks, ('check', 'state', 'since'))!r}\n")
    return 0


def _started(arguments: argparse.Namespace) -> Any:
    from dure import environments
    from dure.environments import LONGEST_H
    from dure.errors import BadRequest, NotFound

    try:
        held = environments.get(arguments.name).phase == "held"
    except NotFound:
        held = False
    if held:
        given = [f"--{word}" for word in _OF_START if getattr(arguments, word) is not None]
        if given:
            raise BadRequest(field=given[0], value=getattr(arguments, given[0][2:]), rule=HELD)
        return environments.start(arguments.name)
    if arguments.hours is not None and not 0 < arguments.hours <= LONGEST_H:
        raise BadRequest(field="--hours", value=arguments.hours, rule=environments.HOURS)
    seconds = None if arguments.hours is None else round(arguments.hours * 3600)
    return environments.create(
        arguments.profile or "cpu",
        arguments.name,
        lifetime_s=seconds,
        team=arguments.team,
        project=arguments.project,
        image=arguments.image,
    )


def _check(arguments: argparse.Namespace) -> None:
    """What belongs to another word of the command is said, not left out."""
    wrong = arguments.parser.error
    acts = arguments.start or arguments.save or arguments.stop or arguments.extend is not None or arguments.until
    if arguments.name is None and (acts or arguments.owner):
        wrong("NAME")
    if arguments.everyone and arguments.name is not None:
        wrong("--everyone: NAME")
    if arguments.start and arguments.owner is not None:
        wrong("--owner: --start")
    if arguments.reason is not None and not arguments.stop:
        wrong("--reason: --stop")
    if arguments.now and not arguments.stop:
        wrong("--now: --stop")
    for word in _OF_START:
        lists = word == "team" and arguments.name is None
        if getattr(arguments, word) is not None and not arguments.start and not lists:
            wrong(f"--{word}: --start")
