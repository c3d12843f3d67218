"""`dure status`: what runs, since when, and where."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from dure.errors import reader_language as language
from dure_hub.operations import live_profiles
from dure_hub.settings import Settings
from dure_hub.supervisor import lock, prepare, processes
from dure_hub.supervisor.errors import NotUp
from dure_hub.supervisor.keeper import record_path
from dure_hub.supervisor.services import checks, wanted
from dure_hub.supervisor.words import line

UP, PARTLY, NOT_RUNNING = 0, 1, 3
WITHOUT = "warm"
"""The service that a portal can be up without: servers then start more slowly, and that is all."""
WORDS = {
    "url": {"en": "The portal is at {url}, up for {age}.", "ko": "포털 주소는 {url}, 가동 시간 {age}."},
    "simulated": {"en": "  Its GPUs are simulated ({fleet}).", "ko": "  GPU는 시뮬레이션입니다({fleet})."},
    "starting": {"en": "The portal at {url} is starting.", "ko": "{url}의 포털이 시작하는 중입니다."},
    "closing": {"en": "The portal at {url} is going down.", "ko": "{url}의 포털이 종료되는 중입니다."},
    "unwatched": {
        "en": "Its supervisor has ended, so nothing is restarted. Run: dure up",
        "ko": "감독 프로세스가 종료되어 재시작되지 않습니다. 실행하세요: dure up",
    },
    "answers": {"en": "answers", "ko": "응답함"},
    "silent": {"en": "runs, but does not answer", "ko": "실행 중이지만 응답 없음"},
    "gone": {"en": "does not run", "ko": "실행 안 됨"},
    "process": {"en": "process {pid}, for {age}", "ko": "프로세스 {pid}, {age} 동안"},
}


def run(arguments: argparse.Namespace) -> int:
    """0 when every service answers that the portal is up with, 1 when some do not, 3 when nothing runs."""
    try:
        settings = prepare.last_settings(data=arguments.data)
    except NotUp as error:
        print(json.dumps({"up": False, "services": {}}) if arguments.json else error.text(language()))
        return NOT_RUNNING
    found = asyncio.run(look(settings))
    print(json.dumps(found, indent=2) if arguments.json else _text(found, settings))
    services = [service for name, service in found["services"].items() if name != WITHOUT]
    if not found["up"] and not any(service["pid"] for service in services):
        return NOT_RUNNING
    return UP if found["phase"] == "up" and all(service["answers"] for service in services) else PARTLY


async def look(settings: Settings) -> dict[str, Any]:
    """Supervisor and services as they are now."""
    held = lock.is_held(settings.folder.run)
    holder = lock.holder(settings.folder.run)
    ready, names = checks(settings), wanted(settings)
    answers = dict(zip(names, await asyncio.gather(*(ready[name]() for name in names)), strict=True))
    services = {}
    for name in names:
        record = processes.load_record(record_path(settings.folder, name))
        alive = record is not None and record.process.alive()
        services[name] = {
            "pid": record.process.pid if record is not None and alive else None,
            "since": record.since if record is not None and alive else None,
            "answers": alive and answers[name],
        }
    return {
        "up": held,
        "phase": holder.get("phase") if held else None,
        "pid": holder.get("pid") if held else None,
        "since": holder.get("since") if held else None,
        "url": settings.address,
        "data": str(settings.folder.root),
        "simulated": settings.simulated_fleet or None,
        "profiles": problem.text(language()) if (problem := live_profiles.problem_of(settings.folder)) else None,
        "services": services,
    }


def _text(found: dict[str, Any], settings: Settings) -> str:
    running = any(service["pid"] for service in found["services"].values())
    if not found["up"] and not running:
        return line("not_running", language(), folder=settings.folder.root)
    lines = []
    if not found["up"]:
        lines.append(_word("unwatched"))
    else:
        key = found["phase"] if found["phase"] in ("starting", "closing") else "url"
        lines.append(_word(key, url=found["url"], age=_age(found["since"])))
    if found["simulated"]:
        lines.append(_word("simulated", fleet=found["simulated"]))
    if found["profiles"]:
        lines.append(f"  {found['profiles']}")
    for name, service in found["services"].items():
        state = _word("answers" if service["answers"] else "silent" if service["pid"] else "gone")
        about = _word("process", pid=service["pid"], age=_age(service["since"])) if service["pid"] else ""
        lines.append(f"  {name:<8}{state}" + (f" ({about})" if about else ""))
    return "\n".join(lines)


def _word(key: str, **facts: Any) -> str:
    return WORDS[key][language()].format(**facts)


def _age(since: float | None) -> str:
    if since is None:
        return "?"
    seconds = max(0, int(time.time() - since))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{days}d " * bool(days) + f"{hours:02d}:{minutes:02d}:{seconds:02d}"
