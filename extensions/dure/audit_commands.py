"""The command that writes the audit into a file: `dure audit > FILE`."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dure.display import write
from dure.errors import BadAnswer, BadRequest, Text, reader_language

PAGE = 20_000
"""Events asked for at once: a portal that restarts meanwhile is asked again for these alone."""

HELP = {
    "audit": {
        "en": "who did what, to a file: all events, the oldest first; for administrators",
        "ko": "누가 무엇을 했는지 파일로 저장(오래된 것부터, 관리자 전용)",
    },
    "since": {
        "en": "from this time on (2026-01-31, with a time and zone, or 7d, 12h)",
        "ko": "이 시각부터(2026-01-31, 시간대가 있는 시각, 또는 7d, 12h)",
    },
    "until": {"en": "before this time", "ko": "이 시각 전까지"},
    "actor": {"en": "of this person only", "ko": "이 사람이 한 것만"},
    "verb": {"en": "of this kind only, such as token.mint", "ko": "이 종류만(예: token.mint)"},
    "after": {"en": "go on after this number (seq)", "ko": "이 번호(seq) 다음부터"},
    "format": {"en": "jsonl (default) or csv", "ko": "jsonl(기본값) 또는 csv"},
}
TIME_RULE: Text = {
    "en": "a time is a date, a date and time with a zone, or an age such as 7d or 12h",
    "ko": "시각은 날짜, 시간대가 있는 날짜와 시각, 또는 7d, 12h 같은 기간입니다",
}


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    language = reader_language()
    parser = subparsers.add_parser("audit", help=HELP["audit"][language], description=HELP["audit"][language])
    for name in ("since", "until", "actor", "verb"):
        parser.add_argument(f"--{name}", help=HELP[name][language])
    parser.add_argument("--after", type=int, default=0, help=HELP["after"][language])
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help=HELP["format"][language])
    parser.set_defaults(run=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    since, until = (time_of(name, getattr(arguments, name), now) for name in ("since", "until"))
    wanted = {"since": since, "until": until, "actor": arguments.actor, "verb": arguments.verb}
    for piece in pieces(arguments.format, arguments.after, {k: v for k, v in wanted.items() if v is not None}):
        write(piece)
    return 0


def pieces(form: str, after: int, wanted: dict[str, Any], page: int = PAGE) -> Iterator[str]:
    """The export as texts that belong behind each other; each asked for by the number at which the last ended."""
    from dure.client import API, client

    first = True
    while True:
        query = {**wanted, "format": form, "after": after, "limit": page}
        text = client().send("GET", f"{API}/events/export", repeatable=True, params=query, timeout=600.0).text
        head, body = _parted(text) if form == "csv" else ("", text)
        yield (head if first else "") + body
        numbers = list(_numbers(form, body))
        if len(numbers) < page:
            return
        first, after = False, numbers[-1]


def _parted(text: str) -> tuple[str, str]:
    head, end, body = text.partition("\r\n")
    return head + end, body


def _numbers(form: str, text: str) -> Iterator[int]:
    try:
        if form == "csv":
            yield from (int(row[0]) for row in csv.reader(text.splitlines(keepends=True)))
        else:
            yield from (int(json.loads(line)["seq"]) for line in text.split("\n") if line)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadAnswer(status=200) from error


def time_of(name: str, text: str | None, now: datetime) -> str | None:
    """A time as the API takes it. A date, or a time without a zone, is one of this machine's zone."""
    if text is None:
        return None
    unit = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}.get(text[-1:])
    try:
        if unit is not None and text[:-1].isascii() and text[:-1].isdigit():
            return (now - int(text[:-1]) * unit).isoformat()
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise BadRequest(field=name, value=text, rule=TIME_RULE) from error
