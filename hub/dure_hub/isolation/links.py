"""Links to shared folders in a person's home, made as they: `python -I -S links.py <home> [<name> <path>]...`.

Ours are listed in `.dure/shared.json` of the home, so that one that is no longer given can be taken away, and
whatever else the owner has under `shared` stays. Prints the names that something of theirs has already.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PLACE, RECORD = "shared", Path(".dure", "shared.json")


def lay(home: Path, wanted: Mapping[str, str]) -> list[str]:
    """Have these links, by name, and no others of ours; the names that could not be had. Raises `OSError`."""
    record, place = home / RECORD, home / PLACE
    ours = recorded(home)
    if not ours and not wanted:
        return []
    record.parent.mkdir(mode=0o700, exist_ok=True)
    # Before anything is made: what is on record and not there is no harm, the other way round it would stay.
    _write(record, {**ours, **wanted})
    for name, path in ours.items():
        if wanted.get(name) != path and _leads_to(place / name, path):
            (place / name).unlink()
    if wanted and not os.path.lexists(place):
        place.mkdir(mode=0o700)
    taken = list(_link(place, wanted))
    _write(record, {name: path for name, path in wanted.items() if name not in taken})
    return taken


def recorded(home: Path) -> dict[str, str]:
    """The links that we have made there; none where nobody can tell."""
    try:
        said = json.loads((home / RECORD).read_text(encoding="utf-8"))
        return {str(name): str(path) for name, path in said.items() if "/" not in name}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _link(place: Path, wanted: Mapping[str, str]) -> Iterator[str]:
    """Make what is missing; the names that are taken."""
    for name, path in wanted.items():
        if _leads_to(place / name, path):
            continue
        if os.path.lexists(place / name) or not place.is_dir():
            yield name
        else:
            (place / name).symlink_to(path)


def _leads_to(link: Path, path: str) -> bool:
    return link.is_symlink() and str(link.readlink()) == path


def _write(record: Path, links: Mapping[str, str]) -> None:
    beside = record.with_name(f".{record.name}.new")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(links, file)
    beside.replace(record)


if __name__ == "__main__":
    pairs = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    sys.stdout.write("\n".join(lay(Path(sys.argv[1]), pairs)))
