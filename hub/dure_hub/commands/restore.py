"""`dure restore FILE`: a data folder from a backup, on this machine or another."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dure_hub.commands.backup import counted, say
from dure_hub.settings.addresses import DEFAULT_DATA


def run(arguments: argparse.Namespace) -> int:
    """0 once the folder is in place; else what was there before is there."""
    from dure_hub.archives.restore import restore

    os.umask(0o077)
    root = Path(arguments.data or os.environ.get("DURE_DATA") or DEFAULT_DATA)
    done = restore(Path(arguments.file), root, arguments.replace, say)
    made = done.manifest
    counts = counted(made["counts"])
    say(
        "restore_done",
        folder=root,
        made_at=made["made_at"],
        machine=made["machine"],
        program=made["program"],
        **counts,
    )
    for place in done.asides:
        say("restore_aside", place=place)
    if not made["homes"]:
        say("restore_without_homes")
    if done.older:
        say("restore_older")
    say("restore_next", machine=made["machine"])
    return 0
