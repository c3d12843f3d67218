"""Removes folders that people could write in, however deep they nested them.

Python's own removal takes a level of its stack, and an open folder, for each level of the tree: a thousand folders
in one another end it. Such a tree is taken apart from the top instead.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dure_hub.isolation.walking import FOLDER

_TOO_DEEP = (errno.EMFILE, errno.ENAMETOOLONG)


def remove_tree(place: Path, onerror: Callable[..., Any] | None = None) -> None:
    """As `shutil.rmtree`, of any depth. No link is followed. Raises `OSError`."""
    try:
        shutil.rmtree(place, onerror=onerror)
    except RecursionError:
        _take_apart(place)
    except OSError as why:
        if why.errno not in _TOO_DEEP:
            raise
        _take_apart(place)


def _take_apart(place: Path) -> None:
    """What is in a folder goes to the top before the folder is removed, so that none is deeper than one level."""
    top = os.open(place, FOLDER)
    try:
        left = os.listdir(top)  # noqa: PTH208 - of what is open
        word, number = f".removed-{os.urandom(6).hex()}", 0
        while left:
            name = left.pop()
            if _is_no_folder_any_more(name, top):
                continue
            folder = os.open(name, FOLDER, dir_fd=top)
            try:
                for inner in os.listdir(folder):  # noqa: PTH208
                    if not _is_no_folder_any_more(inner, folder):
                        number += 1
                        os.rename(inner, f"{word}-{number}", src_dir_fd=folder, dst_dir_fd=top)
                        left.append(f"{word}-{number}")
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    place.rmdir()


def _is_no_folder_any_more(name: str, where: int) -> bool:
    """Remove it, unless it is a folder, which is opened for us where its owner had closed it."""
    try:
        found = os.stat(name, dir_fd=where, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=where)
            return True
    except FileNotFoundError:
        return True
    if os.geteuid() and found.st_mode & 0o700 != 0o700:  # root is kept out by no mode
        os.chmod(name, 0o700, dir_fd=where)
    return False
