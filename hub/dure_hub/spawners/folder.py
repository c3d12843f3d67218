"""The folder of one person: made at the first start, with the notebooks that the portal ships in it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from dure_hub.isolation import accounts, layout
from dure_hub.isolation.acting import act_as
from dure_hub.isolation.turns import turn_at
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

TUTORIALS, SCHEDULED = "tutorials", "scheduled"


def folder_of(settings: Settings, person: str) -> Path:
    """Where the person's folder is, or will be."""
    return settings.folder.users / slug(person)


def prepare_folder(settings: Settings, person: str) -> Path:
    """The person's folder, of mode 700. Shipped notebooks it lacks are copied; what is there is never touched.

    Where people have accounts it is their account's, which is made first. Raises `AccountTaken`, `AccountFailed`.
    """
    folder = folder_of(settings, person)
    with turn_at(folder):
        return _prepare(settings, person, folder)


def _prepare(settings: Settings, person: str, folder: Path) -> Path:
    account = accounts.ensure(settings, person) if accounts.is_on(settings) else None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (TUTORIALS, SCHEDULED):
        source = shipped(name)
        if source is not None and not layout.is_there(folder / name):  # once: what its owner deleted stays deleted
            notebooks = sorted(source.glob("*.ipynb"))
            if account is None:
                layout.lay(folder / name, notebooks)
            else:
                act_as(account, Path(layout.__file__), [str(folder / name), *map(str, notebooks)])
    return folder


def shipped(name: str) -> Path | None:
    """Where this installation keeps these notebooks: inside the wheel, or beside the source; None without any."""
    package = Path(str(files("dure_hub")))
    for folder in (package / "notebooks" / name, package.parents[1] / "notebooks" / name):
        if any(folder.glob("*.ipynb")):
            return folder
    return None
