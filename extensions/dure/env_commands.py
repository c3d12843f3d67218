"""The command about one's own Python: `dure env` shows it, `snapshot` lists it in a file, `reset` empties it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dure.display import Table, say, write
from dure.errors import reader_language

HELP = {
    "env": {
        "en": "your own Python: what `pip install` has put there, and what it takes on disk",
        "ko": "내 파이썬 환경: `pip install`로 설치한 패키지와 디스크 사용량",
    },
    "snapshot": {
        "en": "write what is installed there into a requirements file",
        "ko": "설치한 패키지를 requirements 파일로 저장",
    },
    "reset": {
        "en": "begin with an empty one; the old one is kept aside, with a list of what it had",
        "ko": "빈 환경으로 다시 시작. 이전 환경은 패키지 목록과 함께 따로 보관",
    },
    "file": {"en": "the file; requirements.txt if not given", "ko": "파일 이름. 없으면 requirements.txt"},
    "yes": {"en": "do not ask", "ko": "묻지 않음"},
    "json": {"en": "print JSON", "ko": "JSON으로 출력합니다"},
}


def register(subparsers: Any) -> None:
    """Add it to the `dure` command."""
    parser = _add(subparsers, "env", _show)
    verbs = parser.add_subparsers(metavar="VERB")
    taken = _add(verbs, "snapshot", _snapshot)
    taken.add_argument("file", nargs="?", default="requirements.txt", type=Path, help=_help("file"))
    _add(verbs, "reset", _reset).add_argument("--yes", action="store_true", help=_help("yes"))


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.add_argument("--json", action="store_true", help=_help("json"))
    parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _show(arguments: argparse.Namespace) -> int:
    from dure import own_packages

    own = own_packages.show()
    if arguments.json:
        return _print(asdict(own))
    write(f"{own.folder}  Python {own.python}  {_size(own.size_bytes)}\n")
    if own.packages:
        shown = [replace(one, hides=one.hides or "-") for one in own.packages]
        write(f"{Table(shown, ('name', 'version', 'hides'))!r}\n")
    else:
        say(
            "Nothing of your own is installed; the portal's packages are all there.",
            "내가 설치한 패키지는 없습니다. 포털의 패키지는 모두 쓸 수 있습니다.",
        )
    for aside in own.aside:
        where = f"{aside.folder} ({_size(aside.size_bytes)})"
        say(
            f"Kept aside: {where}; `rm -r` removes it. {_back(aside.list, 'en')}",
            f"따로 보관됨: {where}. `rm -r`로 지울 수 있습니다. {_back(aside.list, 'ko')}",
        )
    return 0


def _snapshot(arguments: argparse.Namespace) -> int:
    from dure import own_packages

    count = own_packages.snapshot(arguments.file)
    if arguments.json:
        return _print({"file": str(arguments.file), "packages": count})
    say(
        f"{count} packages are in {arguments.file}; `pip install -r {arguments.file}` brings them back.",
        f"패키지 {count}개를 {arguments.file}에 저장했습니다. `pip install -r {arguments.file}`로 되돌립니다.",
    )
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    from dure import own_packages
    from dure.sdk_errors import NotConfirmed

    own, _ = own_packages.found()
    if not arguments.yes and not _agreed(str(own)):
        raise NotConfirmed
    aside = own_packages.reset()
    if arguments.json:
        return _print(asdict(aside))
    say(
        f"Your Python is empty again. The old one is {aside.folder}. {_back(aside.list, 'en')}\n"
        "Restart your kernels: those that run still use the old one.",
        f"내 파이썬 환경을 비웠습니다. 이전 환경은 {aside.folder}에 있습니다. {_back(aside.list, 'ko')}\n"
        "실행 중인 커널은 아직 이전 환경을 쓰고 있으니 다시 시작하세요.",
    )
    return 0


def _agreed(folder: str) -> bool:
    """Whether whoever types says yes. Without anybody to ask it is no."""
    if not sys.stdin.isatty():
        return False
    text = f"초기화할까요? {folder} [y/N] " if reader_language() == "ko" else f"Reset {folder}? [y/N] "
    write(text)
    return sys.stdin.readline().strip().lower() in ("y", "yes", "예", "네")


def _back(listed: str | None, language: str) -> str:
    if listed is None:
        return "No packages were found in it." if language == "en" else "그 안에서 찾은 패키지는 없습니다."
    command = f"pip install -r {listed}"
    return f"`{command}` brings its packages back." if language == "en" else f"`{command}`로 패키지를 되돌립니다."


def _size(number: int) -> str:
    return f"{number / (1 << 20):.1f} MiB"


def _print(found: Any) -> int:
    write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    return 0
