"""Looks through folders that people can write in, however deep they nested them, and follows no link.

`os.fwalk` takes a level of its stack, and an open folder, for each level of the tree: a thousand folders in one
another end it. Here one folder is open at a time, and each is reached from the top, part by part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_WAY = 3500
"""Bytes. What lies deeper has no name that a program could open (PATH_MAX is 4096), and counts as an error."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened that may have been swapped for a link."""


@dataclass(frozen=True)
class Folder:
    """One folder, and the names in it. Those taken out of `folders` meanwhile are not entered.

    `way` leads to it from the top: empty, or with a slash at its end. `descriptor` is good until the next is
    asked for.
    """

    way: str
    folders: list[str]
    files: list[str]
    descriptor: int


def folders_below(top: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Folder]:
    """The top and every folder below it, each before what is in it, by name.

    `onerror` is told of each that cannot be read, by its way as `filename`, and it is left out; without one, it is
    raised.
    """
    left = [""]
    while left:
        way = left.pop()
        try:
            folder = open_below(top, way)
        except OSError as why:
            error = OSError(why.errno, why.strerror, way or str(top))
            if onerror is None:
                raise error from why
            onerror(error)
            continue
        try:
            found = _read(way, folder)
            yield found
        finally:
            os.close(folder)
        left += [f"{way}{name}/" for name in reversed(found.folders)]


def open_below(top: Path, way: str) -> int:
    """A descriptor of the folder, which the caller closes. No part of the way is a link. Raises `OSError`."""
    if len(os.fsencode(way)) > LONGEST_WAY:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    folder = os.open(top, FOLDER)
    for part in way.split("/")[:-1]:
        try:
            inner = os.open(part, FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _read(way: str, descriptor: int) -> Folder:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    return Folder(way, sorted(folders), sorted(files), descriptor)
