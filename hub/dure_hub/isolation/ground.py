"""Whether people can have accounts of the system on this machine, found out by trying, and why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dure_hub.isolation import confine
from dure_hub.isolation.accounts import NOBODY
from dure_hub.settings import Settings

Why = Mapping[str, str]
_TOOLS = ("useradd", "groupadd")
_TRIED_S = 60

NO_ROOT: Why = {
    "en": "the portal does not run as root.",
    "ko": "포털이 root로 실행되지 않습니다.",
}
TURNED_OFF: Why = {
    "en": "`system_accounts` is off.",
    "ko": "`system_accounts`가 꺼져 있습니다.",
}


def why_off(settings: Settings) -> Why | None:
    """Why people have no accounts here, or will have none at the next `up`; None where they do. Takes a second."""
    if settings.system_accounts == "off":
        return TURNED_OFF
    return why_not(settings)


def why_not(settings: Settings) -> Why | None:
    """Why this machine does not allow it; None where it does."""
    if os.geteuid() != 0:
        return NO_ROOT
    path = f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}"
    for tool in _TOOLS:
        if shutil.which(tool, path=path) is None:
            return {
                "en": f"there is no program `{tool}`.",
                "ko": f"`{tool}` 프로그램이 없습니다.",
            }
    closed = closed_folder(settings.folder.root.parent) or closed_folder(Path(sys.executable))
    if closed is None:
        closed = closed_folder(Path(sys.executable).resolve())
    if closed is not None:
        return {
            "en": f"other users cannot enter {closed}, where the portal's Python or its data folder is.",
            "ko": f"포털의 파이썬이나 데이터 폴더가 있는 {closed}에 다른 사용자가 들어갈 수 없습니다.",
        }
    said = _runs_for_others()
    if said:
        return {
            "en": f"the portal's Python does not run for other users: {said}",
            "ko": f"다른 사용자로는 포털의 파이썬이 실행되지 않습니다: {said}",
        }
    return None


def closed_folder(path: Path) -> Path | None:
    """The first folder on the way to a place, itself included, that other users cannot enter."""
    for folder in reversed((path, *path.parents)):
        try:
            if folder.is_dir() and not folder.stat().st_mode & 0o001:
                return folder
        except OSError:
            return folder
    return None


@cache
def _runs_for_others() -> str:
    """What a process without any rights says when it loads what people's work needs; empty where it can."""
    text = "import dure, dure_hub.isolation.layout, jupyterhub, jupyter_server"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", text],
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRIED_S,
            check=False,
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason"])[-1][:200]


@cache
def own_tmp() -> bool:
    """Whether a process of this one's can have a /tmp that nobody else sees."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory(prefix="dure-") as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(confine.__file__), folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIED_S,
            check=False,
        )
    return done.returncode == 0
