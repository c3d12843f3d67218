"""`dure service`: the portal as a service of this machine, or of one account of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dure.errors import fill
from dure.errors import reader_language as language
from dure_hub.commands.down import down, longest_s
from dure_hub.commands.service_text import (
    WORDS,
    BadUnitName,
    NoSystemd,
    NotRoot,
    SystemctlRefused,
    UnitTaken,
)
from dure_hub.settings import Settings
from dure_hub.supervisor import lock, prepare
from dure_hub.supervisor.errors import FolderUnusable
from dure_hub.supervisor.unit import Unit, make_unit, quoted

BOOTED = Path("/run/systemd/system")
"""There where systemd was booted, as sd_booted(3) has it."""
SYSTEM_UNITS = Path("/etc/systemd/system")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
KEPT = ("DURE_DATA", "DURE_LANGUAGE")


def run(arguments: argparse.Namespace) -> int:
    """0 when it is done."""
    if not NAME.fullmatch(arguments.name):
        raise BadUnitName(name=arguments.name)
    settings = prepare.settle(data=arguments.data)
    system = os.geteuid() == 0 if arguments.system is None else arguments.system
    unit = unit_of(settings, arguments.name, system)
    if arguments.verb == "install":
        return _print(unit) if arguments.print else install(unit, settings)
    return uninstall(unit) if arguments.verb == "uninstall" else asyncio.run(stop(unit))


def unit_of(settings: Settings, name: str, system: bool) -> Unit:
    """The unit of this data folder. One of the whole machine runs as whoever owns the folder."""
    data = settings.folder.root
    user = pwd.getpwuid(data.stat().st_uid if data.exists() else os.geteuid()).pw_name if system else None
    return Unit(name, Path(sys.executable), data, longest_s(settings), user)


def path_of(unit: Unit) -> Path:
    """Where systemd looks for it."""
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    return (own if unit.own else SYSTEM_UNITS) / f"{unit.name}.service"


def install(unit: Unit, settings: Settings) -> int:
    """Write, enable and start it; where the portal is up already it is not started a second time."""
    path = path_of(unit)
    _check(unit, path)
    _written(path, make_unit(unit))
    _say("written", path=path)
    _systemctl(unit, "daemon-reload")
    up = settings.folder.run.exists() and lock.is_held(settings.folder.run)
    _systemctl(unit, "enable", *([] if up else ["--now"]), f"{unit.name}.service")
    facts = {"systemctl": " ".join(_words(unit)), "name": unit.name, "data": unit.data}
    _say("runs_already" if up else "started", **facts)
    names = sorted(name for name in os.environ if name.startswith("DURE_") and name not in KEPT)
    if names:
        _say("variables", names=", ".join(names), data=unit.data)
    if unit.own and not _lingers():
        _say("linger", user=pwd.getpwuid(os.geteuid()).pw_name)
    return 0


def uninstall(unit: Unit) -> int:
    """Stop it as `dure down` does, and remove it. What it has kept stays."""
    path = path_of(unit)
    if not path.exists():
        _say("none", path=path)
        return 0
    _check(unit, path)
    _systemctl(unit, "disable", "--now", f"{unit.name}.service")
    path.unlink()
    _systemctl(unit, "daemon-reload")
    _say("removed", name=unit.name, data=unit.data)
    return 0


async def stop(unit: Unit) -> int:
    """What systemd runs to stop it: `dure down`, but for a restart, which is the supervisor's alone."""
    if restarts(unit, await asyncio.to_thread(_jobs, unit)):
        _say("restarting")
        return 0
    return await down(prepare.last_settings(data=unit.data))


def restarts(unit: Unit, jobs: str) -> bool:
    """Whether systemd's list of jobs (number, unit, type, state) says that this unit is restarted."""
    found = [words for line in jobs.splitlines() if len(words := line.split()) >= 3]
    return any(words[1] == f"{unit.name}.service" and words[2] == "restart" for words in found)


def _jobs(unit: Unit) -> str:
    asked = [*_words(unit), "list-jobs", "--no-legend", "--plain", "--full", "--no-pager"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as why:
        print(f"{asked[0]}: {why}", file=sys.stderr)  # the journal's; a stop that cannot be told apart is a stop
        return ""


def _check(unit: Unit, path: Path) -> None:
    """Raise what stands in the way, before anything is changed."""
    if shutil.which("systemctl") is None or not BOOTED.is_dir():
        _print(unit)
        raise NoSystemd
    if not unit.own and os.geteuid() != 0:
        raise NotRoot(path=path)
    if path.exists() and f"Environment={quoted(f'DURE_DATA={unit.data}')}" not in path.read_text().splitlines():
        raise UnitTaken(path=path, data=unit.data)


def _written(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as why:
        raise FolderUnusable(folder=str(path.parent), reason=why.strerror or str(why)) from why


def _print(unit: Unit) -> int:
    print(make_unit(unit), end="", flush=True)
    return 0


def _words(unit: Unit) -> list[str]:
    return ["systemctl", "--user"] if unit.own else ["systemctl"]


def _systemctl(unit: Unit, *words: str) -> None:
    asked = [*_words(unit), *words]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise SystemctlRefused(command=" ".join(asked), said=said, path=path_of(unit), name=unit.name)


def _lingers() -> bool:
    """Whether this account's own services run without a login."""
    asked = ["loginctl", "show-user", str(os.geteuid()), "--property=Linger", "--value"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "yes"
    except OSError:
        return False


def _say(key: str, **facts: object) -> None:
    print(fill(WORDS[key], language(), facts), flush=True)
