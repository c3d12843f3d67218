"""`dure portal-logs`: the services' logs."""

from __future__ import annotations

import argparse
import threading

from dure_hub.commands import SERVICES
from dure_hub.settings import Settings
from dure_hub.supervisor import prepare
from dure_hub.supervisor.keeper import log_path
from dure_hub.supervisor.logs import follow, tail


def run(arguments: argparse.Namespace) -> int:
    """Print the end of each log, or of one; with -f go on until Ctrl-C."""
    settings = prepare.last_settings(data=arguments.data)
    names = [arguments.service] if arguments.service else list(SERVICES)
    for name in names:
        if len(names) > 1:
            print(f"== {name} ({log_path(settings.folder, name)})")
        if text := tail(log_path(settings.folder, name), arguments.lines):
            print(text, flush=True)
    if not arguments.follow:
        return 0
    threads = [
        threading.Thread(target=_follow, args=(settings, name, len(names) > 1), daemon=True) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _follow(settings: Settings, name: str, prefix: bool) -> None:
    for text in follow(log_path(settings.folder, name)):
        for one in text.splitlines():
            print(f"{name}: {one}" if prefix else one, flush=True)
