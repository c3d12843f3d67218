"""Commands for notebooks that run by themselves: `dure schedule` makes one, `dure schedules` looks after them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from dure.display import write
from dure.errors import reader_language

HELP = {
    "schedule": {"en": "run a notebook at the minutes of a cron line", "ko": "노트북을 cron 시각마다 실행"},
    "schedules": {
        "en": "your schedules; with a name, one of them with its executions",
        "ko": "내 스케줄 목록, 이름을 주면 그 스케줄과 실행 기록",
    },
    "notebook": {"en": "a notebook, sent as it is now", "ko": "노트북. 지금 내용 그대로 전송됨"},
    "cron": {
        "en": 'minute, hour, day, month, weekday: "0 6 * * *" is every day at six',
        "ko": '분 시 일 월 요일. "0 6 * * *"은 매일 6시',
    },
    "timezone": {
        "en": "zone of the cron line, as in Asia/Seoul; this machine's if not given",
        "ko": "cron의 시간대. 예: Asia/Seoul. 없으면 이 머신의 시간대",
    },
    "name": {"en": "a name; made from the file if not given", "ko": "이름. 없으면 파일 이름으로 만듦"},
    "parameter": {"en": "name=value, once for each", "ko": "이름=값, 여러 번 쓸 수 있음"},
    "profile": {"en": "what to run on", "ko": "실행할 프로필"},
    "file": {"en": "a file or folder to send along, once for each", "ko": "함께 보낼 파일이나 폴더"},
    "limit": {"en": "seconds an execution may take", "ko": "실행 하나의 최대 시간(초)"},
    "team": {"en": "the team that pays", "ko": "비용을 내는 팀"},
    "project": {"en": "the project in that team", "ko": "그 팀의 프로젝트"},
    "one": {"en": "its name", "ko": "스케줄 이름"},
    "owner": {"en": "somebody else's, for administrators", "ko": "다른 사람의 것(관리자 전용)"},
    "run": {"en": "run it once, now", "ko": "지금 한 번 실행"},
    "pause": {"en": "let it run no more until --resume", "ko": "--resume 전까지 실행하지 않음"},
    "resume": {"en": "let it run again", "ko": "다시 실행되게 함"},
    "delete": {"en": "end it for good", "ko": "삭제"},
}


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    one = _add(subparsers, "schedule", _schedule)
    one.add_argument("notebook", help=_help("notebook"))
    one.add_argument("--cron", required=True, help=_help("cron"))
    one.add_argument("--timezone", help=_help("timezone"))
    one.add_argument("--name", help=_help("name"))
    one.add_argument("-p", "--parameter", action="append", default=[], help=_help("parameter"))
    one.add_argument("--profile", default="cpu", help=_help("profile"))
    one.add_argument("-f", "--file", action="append", default=[], help=_help("file"))
    one.add_argument("--limit", type=int, metavar="SECONDS", help=_help("limit"))
    one.add_argument("--team", help=_help("team"))
    one.add_argument("--project", help=_help("project"))
    several = _add(subparsers, "schedules", _schedules)
    several.add_argument("name", nargs="?", help=_help("one"))
    several.add_argument("-p", "--parameter", action="append", default=[], help=_help("parameter"))
    several.add_argument("--owner", metavar="NAME", help=_help("owner"))
    verbs = several.add_mutually_exclusive_group()
    for verb in ("run", "pause", "resume", "delete"):
        verbs.add_argument(f"--{verb}", dest="verb", action="store_const", const=verb, help=_help(verb))
    several.set_defaults(parser=several)


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def values(given: Iterable[str]) -> dict[str, Any]:
    """`name=value` words as parameters; what reads as JSON is that, lists and mappings too, the rest is text."""
    from dure.commands import parameter

    found = {}
    for text in given:
        name, value = parameter(text)
        if isinstance(value, str) and value[:1] in ("[", "{"):
            with suppress(ValueError):  # a text that only begins like a list stays one
                value = json.loads(value)
        found[name] = value
    return found


def _schedule(arguments: argparse.Namespace) -> int:
    from dure import schedules

    made = schedules.create(
        arguments.notebook,
        arguments.cron,
        name=arguments.name,
        timezone=arguments.timezone,
        parameters=values(arguments.parameter),
        profile=arguments.profile,
        files=arguments.file,
        limit_s=arguments.limit,
        team=arguments.team,
        project=arguments.project,
    )
    write(f"{made!r}\n")
    return 0


def _schedules(arguments: argparse.Namespace) -> int:
    from dure import schedules

    name, verb = arguments.name, arguments.verb
    if name is None and verb is not None:
        arguments.parser.error(f"--{verb} NAME")
    if arguments.parameter and verb != "run":
        arguments.parser.error("-p: --run")
    whose = {"owner": arguments.owner}
    if name is None and arguments.owner is not None:
        arguments.parser.error("--owner: NAME")
    if name is None:
        write(f"{schedules.list()!r}\n")
    elif verb == "run":
        write(f"{schedules.run_now(name, values(arguments.parameter), **whose)!r}\n")
    elif verb == "delete":
        schedules.delete(name, **whose)
    elif verb is not None:
        write(f"{(schedules.pause if verb == 'pause' else schedules.resume)(name, **whose)!r}\n")
    else:
        found = schedules.get(name, **whose)
        write(f"{found!r}\n{found.executions()!r}\n")
    return 0
