"""The commands about who may be here: `dure keys`, and `dure logins` for administrators."""

from __future__ import annotations

import argparse
from typing import Any

from dure.display import say, write
from dure.errors import reader_language

SCOPES = ("read", "jobs", "predict", "full")
HELP = {
    "keys": {"en": "keys for machines: create, list, revoke", "ko": "자동화용 키: 만들기, 목록, 폐기"},
    "create": {"en": "make a key; its text is shown once", "ko": "키를 만듦. 내용은 한 번만 표시"},
    "list": {"en": "your keys, with their last use", "ko": "내 키 목록과 마지막 사용 시각"},
    "revoke": {"en": "end a key now", "ko": "키를 지금 폐기"},
    "name": {"en": "what the key is called", "ko": "키 이름"},
    "scope": {
        "en": "what it may: read, jobs (train), predict (served models), full; once for each",
        "ko": "허용 범위: read(보기), jobs(학습), predict(서빙 모델), full(전체). 여러 번 쓸 수 있음",
    },
    "endpoint": {
        "en": "with predict: this served model only, once for each",
        "ko": "predict에서 이 모델만 허용. 여러 번 쓸 수 있음",
    },
    "days": {"en": "how long it lives (default: the portal's setting)", "ko": "유효 기간(기본값: 포털 설정)"},
    "admin": {"en": "carries administrator's rights, with full", "ko": "full과 함께 관리자 권한을 줌"},
    "owner": {"en": "somebody else's, for administrators", "ko": "다른 사람의 것(관리자 전용)"},
    "id": {"en": "the key's id or name", "ko": "키 ID 또는 이름"},
}


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    language = reader_language()
    keys = subparsers.add_parser("keys", help=HELP["keys"][language], description=HELP["keys"][language])
    verbs = keys.add_subparsers(dest="verb", metavar="create|list|revoke", required=True)
    create = verbs.add_parser("create", help=HELP["create"][language])
    create.add_argument("name", help=HELP["name"][language])
    create.add_argument("--scope", action="append", required=True, choices=SCOPES, help=HELP["scope"][language])
    create.add_argument("--endpoint", action="append", default=[], help=HELP["endpoint"][language])
    create.add_argument("--days", type=float, help=HELP["days"][language])
    create.add_argument("--admin", action="store_true", help=HELP["admin"][language])
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help=HELP["list"][language])
    listing.add_argument("--owner", metavar="NAME", help=HELP["owner"][language])
    listing.set_defaults(run=_list)
    revoke = verbs.add_parser("revoke", help=HELP["revoke"][language])
    revoke.add_argument("id", help=HELP["id"][language])
    revoke.set_defaults(run=_revoke)


def _create(arguments: argparse.Namespace) -> int:
    from dure import keys

    made = keys.create(
        arguments.name,
        arguments.scope,
        endpoints=arguments.endpoint,
        days=arguments.days,
        admin=arguments.admin,
    )
    until = made.expires_at.astimezone().strftime("%Y-%m-%d %H:%M")
    say(
        f"It is shown this once, and ends at {until}. Keep it where only the machine reads it.",
        f"한 번만 표시되며 {until}에 만료됩니다. 그 프로그램만 읽을 수 있는 곳에 보관하세요.",
    )
    write(f"{made.key}\n")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from dure import keys

    write(f"{keys.list(arguments.owner)!r}\n")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from dure import keys

    live = [key for key in keys.list() if key.revoked_at is None and key.name == arguments.id]
    keys.revoke(live[0] if live else arguments.id)
    say("It is worth nothing from now on.", "이제 이 키는 쓸 수 없습니다.")
    return 0
