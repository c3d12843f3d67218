"""`dure import jupyterhub SOURCE`: people, teams and homes of an old hub, looked at and then brought over."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dure.display import Table
from dure.errors import BadRequest
from dure.errors import reader_language as language
from dure_hub.importing import bring, source, volumes
from dure_hub.importing.homes import Copied
from dure_hub.policies.importing import Mapped
from dure_hub.supervisor import prepare, restoring

WORDS = {
    "kept": ("same name", "같은 이름"),
    "changed": ("its letters are no person's name here", "여기서 쓸 수 없는 글자"),
    "asked": ("by --as", "--as로 지정"),
    "no_name": (
        "refused: no name can be made of it; choose one: --as OLD=NEW",
        "거부: 이름을 만들 수 없음, --as 이전=새이름",
    ),
    "collision": (
        "refused: {others} would be the same person; choose names: --as OLD=NEW",
        "거부: {others}와(과) 같은 이름이 됨, --as 이전=새이름",
    ),
    "taken": ("refused: somebody here has the name or its folder", "거부: 이름이나 폴더를 이미 다른 사람이 씀"),
    "bring": ("comes over", "가져옴"),
    "already": ("is here already", "이미 있음"),
    "brought": ("brought over", "가져왔음"),
    "failed": ("failed: {why}", "실패: {why}"),
    "empty": ("left out: the home is empty (--allow-empty NAME)", "제외: 홈이 비어 있음(--allow-empty 이름)"),
    "no_home": ("left out: no home was found (--allow-empty NAME)", "제외: 홈을 찾지 못함(--allow-empty 이름)"),
    "found": ("found", "있음"),
    "missing": ("not found", "없음"),
    "unknown": ("unknown (--homes)", "알 수 없음(--homes)"),
    "copied": (
        "{name}: {files} files, {size_mb} MB ({again} were there), {links} links as links, {left_out} left out",
        "{name}: 파일 {files}개, {size_mb} MB(이미 있던 것 {again}개), 링크 {links}개, 제외 {left_out}개",
    ),
    "teams": ("Teams: {teams}", "팀: {teams}"),
    "passwords": (
        "Passwords cannot come over. Give each person one: dure user reset NAME",
        "비밀번호는 옮길 수 없습니다. 사람마다 새로 주세요: dure user reset 이름",
    ),
    "servers": (
        "Named servers are told and not started; people start theirs here.",
        "이름 있는 서버는 알려 주기만 하고 시작하지 않습니다.",
    ),
    "volumes": (
        "Volumes of {count} of {people} people are in {file}. Using them on a cluster is not possible yet: "
        "this portal runs on one machine.",
        "{people}명 중 {count}명의 볼륨을 {file}에 적었습니다. 클러스터에서 쓰는 기능은 아직 없습니다.",
    ),
    "dry": ("Nothing was changed.", "바뀐 것은 없습니다."),
}
STEP = 256 << 20
"""Bytes between two lines of progress."""


def run(arguments: argparse.Namespace) -> int:
    """Plan, show, and bring over unless told otherwise. 1 where somebody is left out."""
    settings = prepare.last_settings(data=arguments.data)
    users = source.read_hub(arguments.source, arguments.secret_file)
    if arguments.only:
        users = [one for one in users if one.name in arguments.only]
    steps = bring.plan(settings, users, arguments.homes, arguments.allow_empty, _asked(arguments.as_name))
    if not arguments.dry_run:
        restoring.refuse(settings.folder.root)
        if not arguments.copy:
            raise BadRequest(field="import", value="", rule="say --dry-run to look, or --copy to copy homes")
        steps = bring.bring(settings, steps, prepare.who_types(), _Progress())
    if arguments.json:
        print(json.dumps([_as_json(step) for step in steps], ensure_ascii=False))
    else:
        _show(steps, arguments.dry_run)
    if arguments.pvcs is not None:
        _volumes(steps, arguments.pvcs, arguments.mapping or Path("dure-volumes.json"))
    return 1 if bring.refused(steps) else 0


def _asked(words: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for word in words:
        old, sign, new = word.rpartition("=")
        if not (sign and old and new):
            raise BadRequest(field="--as", value=word, rule="OLD=NEW")
        found[old] = new
    return found


class _Progress:
    """Says how far a large home is, on stderr."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, step: bring.Step, so_far: Copied) -> None:
        name = step.mapped.old.name
        if so_far.size - self._told.get(name, 0) >= STEP:
            self._told[name] = so_far.size
            print(_copied(step, so_far), file=sys.stderr, flush=True)


class _Row:
    """One line of the table."""

    def __init__(self, step: bring.Step) -> None:
        old = step.mapped.old
        self.old, self.here = old.name, "-" if step.mapped.refused else step.mapped.name
        self.admin = "yes" if old.admin else ""
        self.teams, self.servers = ", ".join(old.groups), ", ".join(old.servers)
        self.home = _word(step.home.state)
        self.what = "; ".join(dict.fromkeys(_sentences(step)))


def _sentences(step: bring.Step) -> list[str]:
    mapped: Mapped = step.mapped
    why = [] if mapped.why == "kept" else [_word(mapped.why, others=", ".join(mapped.others))]
    return [*why, _word(step.outcome, others=", ".join(mapped.others), why=step.why or "")]


def _show(steps: Sequence[bring.Step], dry: bool) -> None:
    print(
        repr(Table([_Row(step) for step in steps], ("old", "here", "admin", "teams", "servers", "home", "what")))
    )
    print(_word("teams", teams=", ".join(sorted({one for s in steps for one in s.mapped.old.groups})) or "-"))
    for step in steps:
        if step.copied is not None and step.home.state == "found":
            print(_copied(step, step.copied))
    if any(step.mapped.old.servers for step in steps):
        print(_word("servers"))
    print(_word("passwords"))
    if dry:
        print(_word("dry"))


def _copied(step: bring.Step, done: Copied) -> str:
    facts = {"files": done.files, "size_mb": done.size >> 20, "again": done.again}
    return _word("copied", name=step.mapped.old.name, links=done.links, left_out=done.left_out, **facts)


def _volumes(steps: Sequence[bring.Step], listed: Path, file: Path) -> None:
    people = [
        (step.mapped.name, step.mapped.old) for step in steps if step.mapped.name and not step.mapped.refused
    ]
    count = volumes.write_mapping(file, people, volumes.read_volumes(listed))
    print(_word("volumes", count=count, people=len(people), file=file), file=sys.stderr)


def _as_json(step: bring.Step) -> dict[str, object]:
    old = step.mapped.old
    return {
        "old": old.name,
        "name": None if step.mapped.refused else step.mapped.name,
        "why": step.mapped.why,
        "others": list(step.mapped.others),
        "admin": old.admin,
        "teams": list(old.groups),
        "servers": list(old.servers),
        "home": step.home.state,
        "outcome": step.outcome,
    }


def _word(key: str, **facts: object) -> str:
    return WORDS[key][language() == "ko"].format(**facts)
