"""The folder of one person: made at the first start, with the notebooks that the portal ships in it."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from dure_hub.isolation import accounts, layout
from dure_hub.isolation.accounts import Account
from dure_hub.isolation.errors import AccountFailed
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

TUTORIALS, SCHEDULED = "tutorials", "scheduled"
LAYING_S = 60


def prepare_folder(settings: Settings, person: str) -> Path:
    """The person's folder, of mode 700. Shipped notebooks it lacks are copied; what is there is never touched.

    Where people have accounts it is their account's, which is made first. Raises `AccountTaken`, `AccountFailed`.
    """
    account = accounts.ensure(settings, person) if accounts.is_on(settings) else None
    folder = settings.folder.users / slug(person)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (TUTORIALS, SCHEDULED):
        source = shipped(name)
        if source is not None and not layout.is_there(folder / name):  # once: what its owner deleted stays deleted
            notebooks = sorted(source.glob("*.ipynb"))
            if account is None:
                layout.lay(folder / name, notebooks)
            else:
                _lay_as(account, folder / name, notebooks)
    return folder


def _lay_as(account: Account, target: Path, notebooks: list[Path]) -> None:
    """The home is theirs, links and all: the portal, which is root, writes nothing into it itself."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(layout.__file__), str(target), *map(str, notebooks)],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LAYING_S,
        check=False,
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[account.shared],
        umask=0o077,
    )
    if done.returncode != 0:
        raise AccountFailed(name=account.name, why=(done.stderr.strip().splitlines() or ["no reason"])[-1][:200])


def shipped(name: str) -> Path | None:
    """Where this installation keeps these notebooks: inside the wheel, or beside the source; None without any."""
    package = Path(str(files("dure_hub")))
    for folder in (package / "notebooks" / name, package.parents[1] / "notebooks" / name):
        if any(folder.glob("*.ipynb")):
            return folder
    return None
