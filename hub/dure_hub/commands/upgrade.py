"""`dure upgrade`: brings the databases of a portal that is down to this program, or says what that would do."""

from __future__ import annotations

import argparse
import os

from dure.errors import reader_language as language
from dure_hub.settings import Settings
from dure_hub.supervisor import checks, prepare, restoring, revisions, swap, upgrade
from dure_hub.supervisor.errors import NotUp
from dure_hub.supervisor.standstill import standing_still
from dure_hub.supervisor.words import line

WORDS = {
    "older": {"en": "{database}: {found} -> {wanted}", "ko": "{database}: {found} -> {wanted}"},
    "current": {"en": "{database}: {found}, up to date", "ko": "{database}: {found}, 최신 상태"},
    "none": {
        "en": "{database}: not there yet; the portal makes it",
        "ko": "{database}: 아직 없음. 포털이 만듭니다",
    },
    "would": {
        "en": "`dure upgrade` would migrate what has an arrow, after a copy into {backup}. Nothing was changed.",
        "ko": "`dure upgrade`가 화살표가 있는 것을 {backup}에 복사한 뒤 업그레이드합니다. 변경된 것은 없습니다.",
    },
    "nothing": {"en": "There is nothing to upgrade.", "ko": "업그레이드할 것이 없습니다."},
    "done": {
        "en": "Upgraded. The databases as they were are in {backup}.",
        "ko": "업그레이드했습니다. 이전 데이터베이스는 {backup}에 있습니다.",
    },
    "done_without": {
        "en": "Upgraded, without a copy of ours: pg_dump is missing or does not fit the server.",
        "ko": "업그레이드했습니다. pg_dump가 없거나 서버와 맞지 않아 포털(PostgreSQL)의 사본만 없습니다.",
    },
}


def run(arguments: argparse.Namespace) -> int:
    """0 when the databases are up to date afterwards; with `--check` 0 whether there is something to do or not."""
    os.umask(0o077)
    settings = prepare.settle(data=arguments.data)
    folder = settings.folder
    restoring.refuse(folder.root)
    if not (folder.db.exists() or folder.upgrading.exists()):
        raise NotUp(folder=str(folder.root))
    checks.layout_known(folder)
    if arguments.check:
        return _check(settings)
    folder.create()
    with standing_still(settings, work=False) as settings:
        swap.recover(folder.upgrading, folder.db)
        older = any(one.older for one in upgrade.plan(settings))
        if older:
            checks.disk_enough(settings)
        backup = upgrade.upgrade(settings, _say)
    _print("nothing" if not older else "done" if backup else "done_without", backup=backup)
    return 0


def _check(settings: Settings) -> int:
    standings = revisions.look(settings)
    for one in standings:
        key = "none" if one.found is None else "older" if one.older else "current"
        if one.known:
            _print(key, database=one.database.title, found=one.found, wanted=one.wanted)
    revisions.check(settings, standings)
    _print("would" if any(one.older for one in standings) else "nothing", backup=settings.folder.backup)
    return 0


def _say(key: str, **facts: object) -> None:
    print(line(key, language(), **facts), flush=True)


def _print(key: str, **facts: object) -> None:
    print(WORDS[key][language()].format(**facts), flush=True)
