"""`dure prepare`: makes a data folder ready, for services that something else than `dure up` starts.

That is the init container of a pod whose other containers are the portal's services. Each of those holds run/lock
with the others (`supervisor.beside`), so that nothing is prepared while one of them runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dure.errors import reader_language as language
from dure_hub.settings import Settings
from dure_hub.settings.variables import unknown
from dure_hub.supervisor import prepare
from dure_hub.supervisor.errors import BadSetting, NoSuchSetting
from dure_hub.supervisor.standstill import standing_still
from dure_hub.supervisor.words import line

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RULE = "it is NAME=FILE: letters, digits and hyphens, and a file that can be read"


def run(arguments: argparse.Namespace) -> int:
    """0 once the folder is ready; also where it was before. Raises `NoSuchSetting` for a variable that is none."""
    os.umask(0o077)  # whatever is made from here on is the portal's own
    _know_all(os.environ)
    given = [_named(one) for one in arguments.secret]
    asyncio.run(make_ready(arguments.data, given, arguments.admin_password_file, _say))
    return 0


async def make_ready(
    data: str | None, given: Sequence[tuple[str, Path]], admin: Path | None, say: Callable[..., None]
) -> Settings:
    """Settings, folder, secrets, databases, first administrator. A second call finds all and changes nothing.

    `given` are secrets that others made: each is copied into a file of mode 600, which a file of a pod's Secret
    cannot be for who is not root. Raises `AlreadyUp` or `NotDown` where something of this portal runs.
    """
    settings = prepare.settle_whole(say, data=data)
    if prepare.make_folder(settings):
        say("made", folder=settings.folder.root)
    with standing_still(settings, work=False) as settings:
        for name, source in given:
            take_secret(settings, name, source)
        prepare.check(settings)
        settings = await prepare.prepare(settings, say)
        if admin is not None:
            prepare.add_first_admin(settings, password=_text(admin, "--admin-password-file"))
    say("prepared", folder=settings.folder.root)
    return settings


def take_secret(settings: Settings, name: str, source: Path) -> None:
    """Keep what `source` says as the secret of this name."""
    prepare.write_secret(settings.folder.secrets / name, _text(source, "--secret"))


def _know_all(variables: Iterable[str]) -> None:
    """A misspelt setting of a pod would else be a default that nobody chose."""
    if found := unknown(variables):
        nearest = ", ".join(dict.fromkeys(found.values()))
        raise NoSuchSetting(names=", ".join(found), nearest=nearest)


def _named(words: str) -> tuple[str, Path]:
    name, _, file = words.partition("=")
    if not NAME.fullmatch(name) or not file or name in prepare.SECRETS:
        raise BadSetting(name="--secret", value=words, rule=RULE)
    return name, Path(file)


def _text(file: Path, flag: str) -> str:
    try:
        return file.read_text().strip()
    except OSError as why:
        raise BadSetting(name=flag, value=str(file), rule=why.strerror or str(why)) from why


def _say(key: str, **facts: object) -> None:
    print(line(key, language(), **facts), flush=True)
