"""`dure status`: what runs, since when, and where."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dure.errors import reader_language as language
from dure_hub.commands import reachcheck
from dure_hub.commands.status_text import text
from dure_hub.operations import live_profiles
from dure_hub.settings import Settings
from dure_hub.supervisor import lock, prepare, processes
from dure_hub.supervisor.care import load_care
from dure_hub.supervisor.errors import NotUp
from dure_hub.supervisor.keeper import care_path, log_path, record_path
from dure_hub.supervisor.logs import tail
from dure_hub.supervisor.services import checks, wanted

UP, PARTLY, NOT_RUNNING = 0, 1, 3
WITHOUT = "warm"
"""The service that a portal can be up without: servers then start more slowly, and that is all."""
LOG_LINES = 12


def run(arguments: argparse.Namespace) -> int:
    """0 when every service answers that the portal is up with, 1 when some do not, 3 when nothing runs.

    Of services that something else runs than `dure up`, as a pod's containers, it says whether they answer.
    """
    try:
        settings = prepare.last_settings(data=arguments.data)
    except NotUp as error:
        print(json.dumps({"up": False, "services": {}}) if arguments.json else error.text(language()))
        return NOT_RUNNING
    found = asyncio.run(look(settings))
    folder = str(settings.folder.root)
    print(json.dumps(found, indent=2) if arguments.json else text(found, language(), folder))
    services = [service for name, service in found["services"].items() if name != WITHOUT]
    if not found["up"] and not found["beside"] and not any(service["pid"] for service in services):
        return NOT_RUNNING
    begun = found["beside"] or found["phase"] == "up"
    return UP if begun and all(service["answers"] for service in services) else PARTLY


async def look(settings: Settings) -> dict[str, Any]:
    """Supervisor and services as they are now."""
    held = lock.is_held(settings.folder.run)
    holder = lock.holder(settings.folder.run)
    beside = not held and lock.is_shared(settings.folder.run)
    ready, names = checks(settings), wanted(settings)
    answers = dict(zip(names, await asyncio.gather(*(ready[name]() for name in names)), strict=True))
    services = {}
    for name in names:
        record = processes.load_record(record_path(settings.folder, name))
        alive = record is not None and record.process.alive()
        services[name] = {
            "pid": record.process.pid if record is not None and alive else None,
            "since": record.since if record is not None and alive else None,
            "answers": (alive or beside) and answers[name],
            **_care(settings, name, held),
        }
    return {
        "up": held,
        "beside": beside,
        "phase": holder.get("phase") if held else None,
        "pid": holder.get("pid") if held else None,
        "since": holder.get("since") if held else None,
        "lost": holder.get("lost") if held else None,
        "url": settings.address,
        "certificate": reachcheck.told(settings, language(), datetime.now(UTC)),
        "data": str(settings.folder.root),
        "simulated": settings.simulated_fleet or None,
        "profiles": problem.text(language()) if (problem := live_profiles.problem_of(settings.folder)) else None,
        "services": services,
    }


def _care(settings: Settings, name: str, watched: bool) -> dict[str, Any]:
    """How often it ended since `up`, why the last time, and what comes next; unknown is null."""
    care = load_care(care_path(settings.folder, name))
    if care is None:
        return {"restarts": None, "last_end": None, "next_try": None, "failing": False}
    last = None if care.last is None else {**asdict(care.last), "signal": care.last.signal}
    told: dict[str, Any] = {"restarts": care.restarts, "last_end": last, "failing": care.failing}
    told["next_try"] = care.next_at if watched else None
    if not care.failing:
        return told
    log = log_path(settings.folder, name)
    end = tail(log, LOG_LINES).splitlines()
    return {**told, "failed_starts": care.unanswered, "log": str(log), "log_end": end}
