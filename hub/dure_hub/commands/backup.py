"""`dure backup FILE`: everything that the portal keeps, in one file, while it is up or down."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dure.errors import reader_language as language
from dure_hub.supervisor import prepare, restoring
from dure_hub.supervisor.words import line


def run(arguments: argparse.Namespace) -> int:
    """0 once the file is whole; else there is no such file."""
    from dure_hub.archives.backup import backup

    os.umask(0o077)
    here = prepare.settle(data=arguments.data).folder.root
    restoring.refuse(here)
    settings = prepare.last_settings(data=arguments.data).model_copy(
        update={"data": here}
    )  # it may have been moved
    made = backup(settings, Path(arguments.file), not arguments.without_homes, say)
    say("backup_done", file=arguments.file, size=-(-made.size // 2**20), **counted(made.manifest["counts"]))
    if arguments.without_homes:
        say("backup_without_homes")
    if made.changed:
        say("backup_changed", count=len(made.changed), names=_some(made.changed))
    if made.left_out:
        say("backup_left_out", count=len(made.left_out), names=_some(made.left_out))
    say("backup_secret", file=arguments.file)
    return 0


def say(key: str, **facts: object) -> None:
    """Print a line in the reader's language."""
    print(line(key, language(), **facts), flush=True)


def counted(counts: dict[str, int]) -> dict[str, int]:
    """How much there is of each; what an older database has no table for is none."""
    names = ("people", "waiting", "leases", "schedules", "endpoints", "models")
    return {name: counts.get(name, 0) for name in names}


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
