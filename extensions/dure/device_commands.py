"""Commands about trouble: `dure device`, `dure disk`."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from dure.display import Table, write
from dure.errors import BadRequest, reader_language

HELP = {
    "device": {"en": "keep GPUs from being granted (administrators)", "ko": "GPU 배정 중지와 재개 (관리자)"},
    "disk": {"en": "room on the portal's disk, and what takes it", "ko": "포털 디스크의 여유와 사용량"},
    "list": {"en": "every GPU with its state", "ko": "모든 GPU와 상태"},
    "cordon": {"en": "grant nothing of it from now on", "ko": "지금부터 배정하지 않음"},
    "drain": {
        "en": "the same, and who holds it ends by the date",
        "ko": "배정을 멈추고 사용 중인 것도 종료",
    },
    "uncordon": {"en": "take it back into use, whatever closed it", "ko": "다시 사용하게 함"},
    "uuid": {"en": "the GPU's UUID", "ko": "GPU의 UUID"},
    "until": {
        "en": "a date as 2026-01-31T18:00, in your time zone where it names none",
        "ko": "2026-01-31T18:00 같은 시각. 시간대가 없으면 내 시간대",
    },
    "message": {"en": "what people read about it", "ko": "사람들이 읽을 설명"},
    "now": {"en": "without ten minutes' notice; needs a message", "ko": "10분 예고 없이. 메시지가 필요함"},
}
_ROOM = {
    "en": "{place}: {free} MiB of {total} MiB free ({percent} %); new starts need {limit:g} % and {minimum} MiB",
    "ko": "{place}: {total} MiB 중 {free} MiB 남음({percent} %). 새로 시작하려면 {limit:g} %와 {minimum} MiB 필요",
}
_FULL = {"en": "Nothing new starts now.", "ko": "지금은 새로 시작하지 않습니다."}
_FORGOTTEN = {
    "en": "{uuid} is no longer there, and is forgotten.",
    "ko": "{uuid}은(는) 없는 GPU라 목록에서 지웠습니다.",
}


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    device = _add(subparsers, "device", None)
    verbs = device.add_subparsers(metavar="list|cordon|drain|uncordon", required=True)
    _add(verbs, "list", _list)
    for verb, run in (("cordon", _cordon), ("drain", _drain), ("uncordon", _uncordon)):
        parser = _add(verbs, verb, run)
        parser.add_argument("uuid", metavar="DEVICE", help=_help("uuid"))
        if verb != "uncordon":
            parser.add_argument("--until", metavar="DATE", help=_help("until"))
            parser.add_argument("--message", metavar="TEXT", help=_help("message"))
        if verb == "drain":
            parser.add_argument("--now", action="store_true", help=_help("now"))
    _add(subparsers, "disk", _disk)


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def moment(text: str | None) -> datetime | None:
    """A date with a zone; that of this terminal where it names none. Raises `BadRequest`."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        rule = {"en": "it is a date as in 2026-01-31T18:00", "ko": "2026-01-31T18:00 같은 시각이어야 합니다"}
        raise BadRequest(field="--until", value=text, rule=rule) from error


def _list(_arguments: argparse.Namespace) -> int:
    from dure import devices

    write(f"{devices.list()!r}\n")
    return 0


def _cordon(arguments: argparse.Namespace) -> int:
    from dure import devices

    return _show(devices.cordon(arguments.uuid, moment(arguments.until), arguments.message))


def _drain(arguments: argparse.Namespace) -> int:
    from dure import devices

    until = moment(arguments.until)
    return _show(devices.drain(arguments.uuid, until, arguments.message, now=arguments.now))


def _uncordon(arguments: argparse.Namespace) -> int:
    from dure import devices

    found = devices.uncordon(arguments.uuid)
    if found is None:
        write(_FORGOTTEN[reader_language()].format(uuid=arguments.uuid) + "\n")
        return 0
    return _show(found)


def _show(device: Any) -> int:
    from dure.devices import COLUMNS

    write(f"{Table([device], COLUMNS)!r}\n")
    return 0


def _disk(_arguments: argparse.Namespace) -> int:
    from dure import devices

    found, language = devices.disk(), reader_language()
    facts = {"free": found.free >> 20, "total": found.total >> 20, "percent": found.free_percent}
    more = {"place": found.place, "limit": found.limit_percent, "minimum": found.minimum_mb}
    write(_ROOM[language].format(**facts, **more) + "\n")
    if not found.starts:
        write(_FULL[language] + "\n")
    for one in (*found.folders, *found.homes):
        write(f"  {'>=' if one.at_least else '  '} {one.size >> 20:>8} MiB  {one.folder}\n")
    return 0
