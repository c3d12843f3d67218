"""Who is there, and what this portal can do."""

from __future__ import annotations

from dure.wire.base import Answer


class About(Answer):
    """The portal's version and gaps. `unsupported` maps a feature to the sentence that says why not."""

    version: str
    api: str = "v1"
    oldest_sdk: str
    simulated: bool = False
    unsupported: dict[str, str] = {}


class User(Answer):
    """The person whom the request speaks for."""

    name: str
    admin: bool = False
    scopes: list[str] = []
