"""Commands about the organisation: `dure apply`, `dure export`, `dure teams`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dure.display import write
from dure.errors import Text, reader_language

if TYPE_CHECKING:
    from dure import wire

DIFFERS = 3
"""The exit code of `--check` where something would change."""
HELP: Mapping[str, Text] = {
    "apply": {
        "en": "bring the organisation to what a file says (administrators)",
        "ko": "조직을 파일 내용대로 맞춤 (관리자)",
    },
    "export": {"en": "write the organisation as a file (administrators)", "ko": "조직을 파일로 저장 (관리자)"},
    "teams": {"en": "your teams, their people and projects", "ko": "내 팀과 팀원, 프로젝트"},
    "file": {"en": "the file; - reads it from the input", "ko": "파일. -는 표준 입력"},
    "dry_run": {"en": "only say what would change", "ko": "변경될 내용만 표시"},
    "check": {
        "en": "as --dry-run, and end with 3 where something would change",
        "ko": "--dry-run과 같고, 변경될 것이 있으면 3으로 끝남",
    },
    "base": {
        "en": "refuse it where the organisation is not of this revision any more",
        "ko": "조직이 이 리비전이 아니면 거부",
    },
    "json": {"en": "print JSON", "ko": "JSON으로 출력합니다"},
    "output": {"en": "where to write it; without it, to the output", "ko": "저장할 파일. 없으면 표준 출력"},
}
KINDS: Mapping[str, Text] = {
    "user": {"en": "user", "ko": "사용자"},
    "team": {"en": "team", "ko": "팀"},
    "quota": {"en": "quota", "ko": "할당량"},
    "budget": {"en": "budget", "ko": "예산"},
    "rate": {"en": "rate", "ko": "요금"},
    "profile": {"en": "profile", "ko": "프로필"},
    "devices": {"en": "devices", "ko": "장치"},
}
WORDS: Mapping[str, Text] = {
    "same": {"en": "Nothing to change.", "ko": "변경할 것이 없습니다."},
    "would": {
        "en": "Nothing was changed yet: {count} to change.",
        "ko": "아직 변경하지 않았습니다. 변경될 것: {count}개.",
    },
    "done": {"en": "Changed: {count}.", "ko": "변경했습니다: {count}개."},
    "revision": {"en": "Revision {revision}.", "ko": "리비전 {revision}."},
    "later": {"en": "Recorded, and done as soon as that answers:", "ko": "기록되었고, 응답하는 대로 실행됩니다:"},
    "written": {"en": "Written to {path}.", "ko": "{path}에 저장했습니다."},
    "unset": {"en": "not set", "ko": "없음"},
}
_COLOURS = {"+": "32", "-": "31", "~": "33"}
_MICRO = 1_000_000


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    apply = _add(subparsers, "apply", _apply)
    apply.add_argument("-f", "--file", required=True, help=_help("file"))
    apply.add_argument("--dry-run", action="store_true", help=_help("dry_run"))
    apply.add_argument("--check", action="store_true", help=_help("check"))
    apply.add_argument("--base", metavar="REVISION", help=_help("base"))
    apply.add_argument("--json", action="store_true", help=_help("json"))
    export = _add(subparsers, "export", _export)
    export.add_argument("-o", "--output", metavar="FILE", help=_help("output"))
    _add(subparsers, "teams", _teams)


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _apply(arguments: argparse.Namespace) -> int:
    from dure import organisation

    only_look = arguments.dry_run or arguments.check
    if arguments.file == "-":
        diff = organisation.apply(sys.stdin.read(), dry_run=only_look, base=arguments.base)
    else:
        diff = organisation.apply_file(arguments.file, dry_run=only_look, base=arguments.base)
    if arguments.json:
        write(json.dumps(diff.model_dump(mode="json"), ensure_ascii=False, indent=2) + "\n")
    else:
        write(told(diff, reader_language(), colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return DIFFERS if arguments.check and diff.changes else 0


def _export(arguments: argparse.Namespace) -> int:
    from dure import organisation

    text = organisation.get().text
    if arguments.output is None:
        write(text)
        return 0
    target = Path(arguments.output)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
    write(WORDS["written"][reader_language()].format(path=target) + "\n")
    return 0


def _teams(_arguments: argparse.Namespace) -> int:
    from dure import organisation

    write(f"{organisation.teams()!r}\n")
    return 0


def told(diff: wire.OrganisationDiff, language: str, *, colour: bool = False) -> str:
    """The differences in words, a line each."""
    if not diff.changes:
        return WORDS["same"][language] + "\n"
    lines = [_painted(*_line(one, language), colour=colour) for one in diff.changes]
    count = len(diff.changes)
    lines.append(WORDS["done" if diff.applied else "would"][language].format(count=count))
    lines += [note.get(language, note["en"]) for note in diff.notes]
    if diff.waiting:
        lines.append(WORDS["later"][language])
        lines += [f"  {one.get(language, one['en'])}" for one in diff.waiting]
    lines.append(WORDS["revision"][language].format(revision=diff.revision))
    return "\n".join(lines) + "\n"


def _line(change: wire.OrganisationChange, language: str) -> tuple[str, str]:
    kind = KINDS.get(change.kind)
    what = f"{change.kind if kind is None else kind[language]} {change.name}".strip()
    if change.field is not None:
        before = _value(change.kind, change.field, change.before, language)
        after = _value(change.kind, change.field, change.after, language)
        return "~", f"{what}: {change.field} {before} → {after}"
    if change.after is None:
        return "-", what
    said = [f"{name} {_value(change.kind, name, one, language)}" for name, one in change.after.items() if one]
    return "+", what + (f": {', '.join(said)}" if said else "")


def _value(kind: str, field: str, value: Any, language: str) -> str:
    if value is None or value == []:
        return WORDS["unset"][language]
    if kind in ("rate", "budget") and isinstance(value, int):
        return f"{value / _MICRO:f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return " ".join(str(one) for one in value)
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _painted(sign: str, text: str, *, colour: bool) -> str:
    line = f"{sign} {text}"
    return f"\x1b[{_COLOURS[sign]}m{line}\x1b[0m" if colour else line
