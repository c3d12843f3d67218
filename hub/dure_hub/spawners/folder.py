"""The folder of one person: made at the first start, with the tutorials in it."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

TUTORIALS = "tutorials"


def prepare_folder(settings: Settings, person: str) -> Path:
    """The person's folder, of mode 700. Tutorials that it lacks are copied; what is there is never touched."""
    folder = settings.folder.users / slug(person)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / TUTORIALS
    if not target.exists():  # once: a tutorial that its owner deleted stays deleted
        _copy_tutorials(target)
    return folder


def _copy_tutorials(target: Path) -> None:
    source = tutorials()
    if source is None:
        return
    unfinished = target.with_name(f".{TUTORIALS}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for notebook in sorted(source.glob("*.ipynb")):
        shutil.copyfile(notebook, unfinished / notebook.name)
    unfinished.rename(target)


def tutorials() -> Path | None:
    """Where this installation keeps its tutorials: inside the wheel, or beside the source; None without any."""
    package = Path(str(files("dure_hub")))
    for folder in (package / "notebooks" / TUTORIALS, package.parents[1] / "notebooks" / TUTORIALS):
        if any(folder.glob("*.ipynb")):
            return folder
    return None
