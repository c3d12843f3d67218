"""Copies shipped notebooks into a person's home, as that person: `python -I -S layout.py <target> <file> ...`.

The home is its owner's, who may have put links anywhere: whatever this follows, it can do no more than they can.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def lay(target: Path, sources: Sequence[Path]) -> None:
    """Copy the files into a new folder, which appears whole. Where it is there already, nothing happens."""
    if is_there(target):
        return
    unfinished = target.with_name(f".{target.name}.new")
    if unfinished.is_symlink():
        unfinished.unlink()
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for source in sources:
        shutil.copyfile(source, unfinished / source.name)
    unfinished.rename(target)


def is_there(target: Path) -> bool:
    """Whether its owner has something of this name. A link counts, wherever it leads."""
    return os.path.lexists(target)


if __name__ == "__main__":
    lay(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]])
