"""The folder of one person: made at the first start, with the notebooks that the portal ships in it."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

TUTORIALS, SCHEDULED = "tutorials", "scheduled"


def prepare_folder(settings: Settings, person: str) -> Path:
    """The person's folder, of mode 700. Shipped notebooks it lacks are copied; what is there is never touched."""
    folder = settings.folder.users / slug(person)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (TUTORIALS, SCHEDULED):
        if not (folder / name).exists():  # once: a notebook that its owner deleted stays deleted
            _copy_notebooks(name, folder / name)
    return folder


def _copy_notebooks(name: str, target: Path) -> None:
    source = shipped(name)
    if source is None:
        return
    unfinished = target.with_name(f".{name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for notebook in sorted(source.glob("*.ipynb")):
        shutil.copyfile(notebook, unfinished / notebook.name)
    unfinished.rename(target)


def shipped(name: str) -> Path | None:
    """Where this installation keeps these notebooks: inside the wheel, or beside the source; None without any."""
    package = Path(str(files("dure_hub")))
    for folder in (package / "notebooks" / name, package.parents[1] / "notebooks" / name):
        if any(folder.glob("*.ipynb")):
            return folder
    return None
