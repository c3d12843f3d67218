"""The command about what you are told: `dure notices` lists it, marks it read, and says where it is sent."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from dure.display import Table, write
from dure.errors import reader_language

HELP = {
    "notices": {"en": "what you are told, the newest first", "ko": "내 알림. 새 것부터"},
    "unseen": {"en": "only what you have not read", "ko": "읽지 않은 것만"},
    "read": {"en": "mark all as read", "ko": "모두 읽음으로 표시"},
    "settings": {"en": "how you are told, and where", "ko": "알림 설정과 받는 곳"},
    "add": {
        "en": "send to an address, too; it is asked for, or read from standard input, since it may hold a secret",
        "ko": "받을 곳 추가. 주소는 비밀을 담을 수 있어 입력을 받거나 표준 입력에서 읽음",
    },
    "remove": {"en": "send no more to this one, by its id", "ko": "이 id로 더 보내지 않음"},
    "test": {"en": "send a test everywhere", "ko": "모든 곳으로 시험 알림 보내기"},
    "failures": {"en": "what could not be sent, for administrators", "ko": "보내지 못한 알림(관리자 전용)"},
    "language": {"en": "en, ko, or empty for the portal's own", "ko": "en, ko, 비우면 포털 기본값"},
    "timezone": {"en": "as Asia/Seoul; empty is UTC", "ko": "예: Asia/Seoul. 비우면 UTC"},
    "off": {"en": "kinds that are only listed, with commas; empty is none", "ko": "목록에만 둘 종류(쉼표로 구분)"},
    "mail": {"en": "whether the portal's mail reaches you", "ko": "포털 메일을 받을지 여부"},
    "address": {"en": "Address: ", "ko": "주소: "},
}
CHANNELS = ("id", "scheme", "host", "last_sent_at", "last_error")


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "notices", help=_help("notices"), description=_help("notices")
    )
    parser.add_argument("--unseen", action="store_true", help=_help("unseen"))
    verbs = parser.add_mutually_exclusive_group()
    for word in ("read", "settings", "add", "test", "failures"):
        verbs.add_argument(f"--{word}", action="store_true", help=_help(word))
    verbs.add_argument("--remove", metavar="ID", help=_help("remove"))
    for word in ("language", "timezone", "off"):
        parser.add_argument(f"--{word}", help=_help(word))
    parser.add_argument("--mail", choices=("on", "off"), help=_help("mail"))
    parser.set_defaults(run=_notices)


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _notices(arguments: argparse.Namespace) -> int:
    from dure import notices

    if arguments.read:
        notices.seen()
    elif arguments.add:
        write(f"{Table([notices.add(_address())], CHANNELS)!r}\n")
    elif arguments.remove:
        notices.remove(arguments.remove)
    elif arguments.test:
        notices.test()
    elif arguments.failures:
        write(f"{notices.failures()!r}\n")
    elif _changes(arguments):
        _show(notices.set(**_changes(arguments)))
    elif arguments.settings:
        _show(notices.settings())
    else:
        for one in notices.list(unseen=arguments.unseen):
            mark = " " if one.seen_at else "*"
            text = one.text.get(reader_language(), one.text.get("en", one.code))
            write(f"{mark} {one.made_at.astimezone():%Y-%m-%d %H:%M}  {text}\n")
    return 0


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """What of the settings is to change."""
    found = {"language": arguments.language, "timezone": arguments.timezone}
    if arguments.off is not None:
        found["off"] = [kind.strip() for kind in arguments.off.split(",") if kind.strip()]
    if arguments.mail is not None:
        found["mail"] = arguments.mail == "on"
    return {name: value for name, value in found.items() if value is not None}


def _show(found: Any) -> None:
    write(f"{Table([found], ('language', 'timezone', 'mail', 'mail_to', 'off'))!r}\n")
    if found.channels:
        write(f"\n{Table(found.channels, CHANNELS)!r}\n")


def _address() -> str:
    """Never an argument: others on the machine could read it there."""
    return (getpass.getpass(_help("address")) if sys.stdin.isatty() else sys.stdin.readline()).strip()
