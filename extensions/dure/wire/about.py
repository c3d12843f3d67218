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
    """The person whom the request speaks for. `team` pays for what is started by this token where none is named:
    that of the server it is the token of. Null is none, or their only one. `leads` are the teams they lead.
    """

    name: str
    admin: bool = False
    scopes: list[str] = []
    teams: list[str] = []
    team: str | None = None
    leads: list[str] = []
