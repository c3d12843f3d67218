"""Names of outside objects, and of people: one rule each, tested for validity and for collisions."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import astuple, dataclass
from urllib.parse import urlsplit

PERSON_PATTERN = r"[a-z][a-z0-9_-]{0,30}"
"""Names of people: what JupyterHub, a URL, a folder and a Kubernetes label all accept."""

LOGIN_PATTERN = r"[a-z0-9][a-z0-9._@+-]{0,63}"
"""Names that a login provider may give people: an address, too. What needs a narrower one makes it by `slug`."""


def is_login(name: str) -> bool:
    """Whether `name` can be the name of somebody whom a login provider vouches for."""
    return re.fullmatch(LOGIN_PATTERN, name, flags=re.ASCII) is not None


SLUG_LIMIT = 40
_PLAIN = re.compile(r"[a-z0-9](?:-?[a-z0-9])*")
_HASH = 12


def is_person(name: str) -> bool:
    """Whether `name` can be a person's name."""
    return re.fullmatch(PERSON_PATTERN, name, flags=re.ASCII) is not None


def slug(name: str) -> str:
    """A name for folders and cluster objects, of `a-z0-9-`, at most 40 characters, never empty.

    Plain names stay as they are. Any other gets a readable start and `--` with a digest of the whole name;
    plain names hold no `--`, so no two names share a slug (but for a collision of SHA-256's first 48 bits).
    """
    if len(name) <= SLUG_LIMIT and _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower(), flags=re.ASCII).strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{readable[: SLUG_LIMIT - _HASH - 2].strip('-') or 'x'}--{digest}"


ACCOUNT_LIMIT = 32
"""Longest name of a Linux user."""


def account_name(prefix: str, person: str) -> str:
    """The name of a person's operating-system user: the prefix and their slug, with a digest if that is long.

    A prefix has at most 10 characters of `a-z0-9` and ends with `-`. Names of one prefix do not collide, but as
    slugs might.
    """
    plain = f"{prefix}{slug(person)}"
    if len(plain) <= ACCOUNT_LIMIT:
        return plain
    digest = hashlib.sha256(person.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    readable = plain[len(prefix) : ACCOUNT_LIMIT - _HASH - 2].partition("--")[0].strip("-")
    return f"{prefix}{readable or 'x'}--{digest}"


LABEL_LIMIT = 63
_PART = r"[a-z0-9]+"
_OUTSIDE = re.compile(rf"([a-z](?:-?[a-z0-9])*)-({_PART})-({_PART})-(0|[1-9][0-9]*)", flags=re.ASCII)


@dataclass(frozen=True)
class Outside:
    """What an outside object is: of which environment (`prod`), whose, what it does, and which one of these."""

    environment: str
    team: str
    role: str
    number: int


def outside_name(thing: Outside) -> str:
    """`{environment}-{team}-{role}-{number}`: a DNS label for pods, services and hosts.

    At most 63 characters of `a-z0-9-`, a letter first. Where that says everything, `parse` reads it back. What had
    to be shortened or changed, or could be read in two ways (a hyphen in a team), gets a readable start and `--`
    with a digest of all four: no two things share a name (but for a collision of SHA-256's first 48 bits).
    """
    plain = f"{thing.environment}-{thing.team}-{thing.role}-{thing.number}"
    if parse(plain) == thing:
        return plain
    digest = hashlib.sha256(json.dumps(astuple(thing)).encode()).hexdigest()[:_HASH]
    readable = re.sub(r"[^a-z0-9]+", "-", plain.lower(), flags=re.ASCII).strip("-")
    lettered = readable if readable[:1].isalpha() else f"x-{readable}"
    return f"{lettered[: LABEL_LIMIT - _HASH - 2].strip('-')}--{digest}"


def parse(label: str) -> Outside | None:
    """What a name says by itself; None where its rest is in a digest, or it is no name of ours."""
    found = _OUTSIDE.fullmatch(label) if len(label) <= LABEL_LIMIT else None
    if found is None:
        return None
    environment, team, role, number = found.groups()
    return Outside(environment, team, role, int(number))


def person_origin(subdomain_host: str, person: str) -> str:
    """Where a person's servers are, as `scheme://host:port`, below the address that all of them share."""
    shared = urlsplit(subdomain_host)
    return f"{shared.scheme}://{person_label(person)}.{shared.netloc}"


def person_label(person: str) -> str:
    """The first label of a person's own host. One host holds all of their servers: they trust each other."""
    return outside_name(Outside("user", person, "lab", 1))
