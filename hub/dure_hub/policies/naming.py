"""Names of outside objects, and of people: one rule each, tested for validity and for collisions."""

from __future__ import annotations

import hashlib
import re

PERSON_PATTERN = r"[a-z][a-z0-9_-]{0,30}"
"""Names of people: what JupyterHub, a URL, a folder and a Kubernetes label all accept."""

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
