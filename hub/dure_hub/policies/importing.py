"""Who of an old hub becomes whom here, and which Kubernetes volumes may be theirs. Pure: values in, values out."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from dure_hub.policies.naming import is_person

KEPT: Final = "kept"
CHANGED: Final = "changed"
ASKED: Final = "asked"
NO_NAME: Final = "no_name"
COLLISION: Final = "collision"
TAKEN: Final = "taken"
REFUSED = frozenset({NO_NAME, COLLISION, TAKEN})
_LONGEST = 31


@dataclass(frozen=True)
class OldUser:
    """A person as the old hub knows them. `servers` are the names of named servers, `pvcs` those it remembers."""

    name: str
    admin: bool = False
    groups: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    pvcs: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Mapped:
    """What becomes of one person: `name` here, and why it is another or none; `others` are who is in the way."""

    old: OldUser
    name: str | None
    why: Literal["kept", "changed", "asked", "no_name", "collision", "taken"] = "kept"
    others: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether this person is not brought over."""
        return self.why in REFUSED


def name_here(old: str) -> str | None:
    """The name an old one becomes: small letters, an address without its host, `-` for what cannot be in a name.

    None where nothing is left that begins with a letter.
    """
    if is_person(old):
        return old
    local = old.partition("@")[0].lower()
    plain = re.sub(r"[^a-z0-9_-]+", "-", local, flags=re.ASCII).strip("-")
    lettered = re.sub(r"^[^a-z]+", "", plain, flags=re.ASCII)[:_LONGEST].rstrip("-")
    return lettered if is_person(lettered) else None


def map_people(
    users: Sequence[OldUser], taken: Collection[str] = (), asked: Mapping[str, str] | None = None
) -> list[Mapped]:
    """Everybody with their name here. Nobody is ever merged: whose names meet are all refused.

    `taken` are names of people who are here and did not come from this hub; `asked` are names that somebody chose,
    by the old name.
    """
    found = [_one(user, (asked or {}).get(user.name)) for user in users]
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for one in found:
        if one.name is not None:
            wanted[one.name].append(one.old.name)
    return [_settled(one, wanted, taken) for one in found]


def _one(user: OldUser, asked: str | None) -> Mapped:
    if asked is not None:
        return Mapped(user, asked, ASKED) if is_person(asked) else Mapped(user, None, NO_NAME)
    name = name_here(user.name)
    if name is None:
        return Mapped(user, None, NO_NAME)
    return Mapped(user, name, KEPT if name == user.name else CHANGED)


def _settled(one: Mapped, wanted: Mapping[str, Sequence[str]], taken: Collection[str]) -> Mapped:
    if one.name is None:
        return one
    others = tuple(old for old in wanted[one.name] if old != one.old.name)
    if others:
        return replace(one, why=COLLISION, others=others)
    return replace(one, why=TAKEN) if one.name in taken else one


@dataclass(frozen=True)
class Volume:
    """A volume that may be a person's: its name, and by which of KubeSpawner's schemes."""

    name: str
    scheme: Literal["remembered", "safe", "escape"]
    server: str = ""


def volumes_of(user: OldUser) -> list[Volume]:
    """The names of the volumes that KubeSpawner may have made for this person, the likeliest first.

    What the hub remembers (since KubeSpawner 7) comes first, then `claim-{user_server}` of version 7, then
    `claim-{username}` of older ones; for every named server too.
    """
    found: dict[str, Volume] = {}
    for server in ("", *user.servers):
        remembered = (user.pvcs or {}).get(server)
        names = [
            *([Volume(remembered, "remembered", server)] if remembered else []),
            Volume(f"claim-{safe_user_server(user.name, server)}", "safe", server),
            Volume(f"claim-{escaped_user_server(user.name, server)}", "escape", server),
        ]
        for one in names:
            found.setdefault(one.name, one)
    return list(found.values())


_HASH, _LIMIT = 8, 48
_OBJECT = re.compile(r"[a-z0-9\-]+")


def escaped_user_server(user: str, server: str = "") -> str:
    """KubeSpawner's names before 7: each other byte as `-` and two hex digits."""
    return _escape(user) + (f"--{_escape(server)}" if server else "")


def safe_user_server(user: str, server: str = "") -> str:
    """KubeSpawner's names from 7 on: as they are where that is valid, else a readable part and a digest."""
    safe, more = _safe(user), _safe(server) if server else ""
    if len(safe) + len(more) + 2 > _LIMIT:
        return _both(user, server)
    return f"{safe}--{more}" if server else safe


def _escape(name: str) -> str:
    plain = set("abcdefghijklmnopqrstuvwxyz0123456789")
    return "".join(
        one if one in plain else "".join(f"-{byte:x}" for byte in one.encode("utf-8")) for one in name
    ).lower()


def _safe(name: str) -> str:
    valid = (
        0 < len(name) <= _LIMIT
        and _OBJECT.fullmatch(name) is not None
        and "a" <= name[0] <= "z"
        and name[-1] != "-"
        and "--" not in name
    )
    return name if valid else f"{_readable(name, _LIMIT - _HASH - 3)}---{_digest(name.encode())}"


def _both(user: str, server: str) -> str:
    each = (_LIMIT - _HASH - 1) // 2 - 2
    digest = _digest(user.encode() + b"\xff" + server.encode())
    return f"{_readable(user, each)}--{_readable(server, each)}---{digest}"


def _readable(name: str, longest: int) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-")[:longest].rstrip("-")
    if text and not "a" <= text[0] <= "z":
        text = f"x-{text[: longest - 2]}"
    return text or "x"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH]
