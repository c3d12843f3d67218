"""Which teams the groups of a login provider are: one rule, tested for validity and for collisions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TEAM_LIMIT = 100
_PLAIN = re.compile(r"\w(?:[.-]?\w)*")
_DIGEST = 8

EMPTY, NO_TEXT = "empty", "no_text"


@dataclass(frozen=True)
class Teams:
    """The teams of one person, and the groups of theirs that can be none, each with why: `empty` or `no_text`."""

    names: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def teams_of(groups: Iterable[object], prefix: str = "", mapping: Mapping[str, str] | None = None) -> Teams:
    """The teams that a provider's groups are.

    A group that `mapping` names is the team it says, as it stands. Of all others, those that begin with `prefix`
    are teams, without it; the rest is the provider's own business, and no team by intention.
    """
    names: set[str] = set()
    left_out: list[tuple[str, str]] = []
    for group in groups:
        if not isinstance(group, str):
            left_out.append((repr(group)[:TEAM_LIMIT], NO_TEXT))
            continue
        if mapping and group in mapping:
            names.add(mapping[group])
            continue
        plain = group.removeprefix("/") if not prefix.startswith("/") else group  # Keycloak's "full group path"
        if not plain.startswith(prefix):
            continue
        name = team_name(plain.removeprefix(prefix))
        if name is None:
            left_out.append((group[:TEAM_LIMIT], EMPTY))
        else:
            names.add(name)
    return Teams(tuple(sorted(names)), tuple(sorted(left_out)))


def team_name(group: str) -> str | None:
    """A team's name of one line, at most 100 characters, for one group; None where nothing of it can be read.

    Letters of any script, digits, `_`, and single `.` and `-` between them stay as they are. Anything else gets a
    readable start and `--` with a digest of the whole: plain names hold no `--`, so no two groups become one team
    (but for a collision of SHA-256's first 32 bits).
    """
    name = unicodedata.normalize("NFC", group)
    if len(name) <= TEAM_LIMIT and _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^\w]+", "-", name).strip("-")
    if not readable:
        return None
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{readable[: TEAM_LIMIT - _DIGEST - 2].strip('-')}--{digest}"
