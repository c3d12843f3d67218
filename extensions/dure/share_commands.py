"""The command about who else may open a server: `dure share`."""

from __future__ import annotations

import argparse
from typing import Any

from dure.display import write
from dure.errors import reader_language

HELP = {
    "share": {
        "en": "who else may open a server of yours; let a colleague in, or in no more",
        "ko": "내 서버를 열 수 있는 사람 보기, 동료 초대와 제거",
    },
    "name": {"en": "the server's name", "ko": "서버 이름"},
    "with": {"en": "let this colleague in", "ko": "이 동료를 초대"},
    "end": {"en": "let this colleague in no more", "ko": "이 동료의 접근을 끝냄"},
    "owner": {"en": "somebody else's, for administrators", "ko": "다른 사람의 것(관리자 전용)"},
}


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    language = reader_language()
    parser = subparsers.add_parser("share", help=HELP["share"][language], description=HELP["share"][language])
    parser.add_argument("name", nargs="?", default="default", help=HELP["name"][language])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--with", dest="person", metavar="NAME", help=HELP["with"][language])
    what.add_argument("--end", metavar="NAME", help=HELP["end"][language])
    parser.add_argument("--owner", metavar="NAME", help=HELP["owner"][language])
    parser.set_defaults(run=_share)


def _share(arguments: argparse.Namespace) -> int:
    from dure import environments

    name, owner = arguments.name, arguments.owner
    if arguments.person is not None:
        environments.share(arguments.person, name, owner)
    if arguments.end is not None:
        environments.unshare(arguments.end, name, owner)
    write(f"{environments.shares(name, owner)!r}\n")
    return 0
