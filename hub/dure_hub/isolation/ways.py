"""Who owns what below the data folder, changed without being led astray.

The portal is root here, and people write into their folders: no link is followed, no other file system entered,
and a file that has another name outside of the folder stays whose it was.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dure_hub.isolation.walking import folders_below

WAY, SHOWN_FOLDER, SHOWN_FILE, OWN = 0o710, 0o750, 0o640, 0o700
log = logging.getLogger(__name__)


def open_way(root: Path, target: Path, group: int) -> None:
    """Let the group pass through each folder from `root` to above `target`, and list none of them.

    All of them are the portal's own. Raises `OSError` where one is a link, or somebody else's.
    """
    steps = [root / part for part in reversed(target.relative_to(root).parents)]
    for step in steps:
        found = step.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise NotADirectoryError(f"{step} is no folder of the portal's")
        if found.st_gid != group:
            os.chown(step, -1, group, follow_symlinks=False)
        if stat.S_IMODE(found.st_mode) != WAY:
            step.chmod(WAY)


def give(place: Path, uid: int, gid: int) -> None:
    """Make a file, or a folder with all that is in it, this user's own. Done once: the folder itself comes last.

    Killed in between, it is done again from the start. Nobody else may write there meanwhile, which the folder's
    mode of 700 sees to. Raises `OSError`.
    """
    found = place.lstat()
    if found.st_uid == uid:
        return
    if not stat.S_ISDIR(found.st_mode):
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(f"{place} is no plain file or folder")
        os.chown(place, uid, gid, follow_symlinks=False)
        return
    place.chmod(OWN)
    inside = _names(place, found.st_dev)
    for names, folder in _walk(place):
        for name in names:
            one = os.lstat(name, dir_fd=folder)
            if one.st_dev != found.st_dev:
                continue
            if stat.S_ISREG(one.st_mode) and one.st_nlink > inside[one.st_ino]:
                log.warning("%s below %s has names elsewhere too, and stays whose it is", name, place)
                continue
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    os.chown(place, uid, gid, follow_symlinks=False)


def show(place: Path, group: int) -> None:
    """Let the group read a folder of the portal's own, and all that is in it. Raises `OSError`."""
    if place.lstat().st_uid != os.geteuid():
        raise OSError(f"{place} is not the portal's")
    for names, folder in _walk(place):
        for name in names:
            one = os.lstat(name, dir_fd=folder)
            if stat.S_ISDIR(one.st_mode) or stat.S_ISREG(one.st_mode):
                os.chown(name, -1, group, dir_fd=folder, follow_symlinks=False)
                os.chmod(name, SHOWN_FOLDER if stat.S_ISDIR(one.st_mode) else SHOWN_FILE, dir_fd=folder)
    os.chown(place, -1, group, follow_symlinks=False)
    place.chmod(SHOWN_FOLDER)


def _names(place: Path, device: int) -> Counter[int]:
    """How many names each file with several has in there."""
    found: Counter[int] = Counter()
    for names, folder in _walk(place):
        for name in names:
            one = os.lstat(name, dir_fd=folder)
            if stat.S_ISREG(one.st_mode) and one.st_dev == device:
                found[one.st_ino] += 1
    return found


def _walk(place: Path) -> Iterator[tuple[list[str], int]]:
    """Names in each folder, and the folder's descriptor. No link is followed; what cannot be read raises."""
    for found in folders_below(place):
        yield [*found.folders, *found.files], found.descriptor
