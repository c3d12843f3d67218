"""Keys for machines: `dure.keys.create("ci", ["jobs"])`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dure import wire
from dure.client import client, read, read_all
from dure.display import Table

_DAY_S = 86400


def create(
    name: str,
    scopes: Sequence[str],
    *,
    endpoints: Sequence[str] = (),
    days: float | None = None,
    admin: bool = False,
) -> wire.NewKey:
    """A key that acts for you within `scopes` (read, jobs, predict, full). Its text, `.key`, is shown this once.

    `endpoints` narrows `predict` to some served models. It ends after `days`; without, when the portal's setting
    says. `admin` carries administrator's rights, if you have them.
    """
    body: dict[str, Any] = {"name": name, "scopes": [*scopes], "endpoints": [*endpoints], "admin": admin}
    if days is not None:
        body["lifetime_s"] = round(days * _DAY_S)
    return read(wire.NewKey, client().post("/keys", body))


def list(owner: str | None = None) -> Table[wire.Key]:  # noqa: A001 - `dure.keys.list()`
    """Your keys, the newest first, with their last use; somebody else's for administrators."""
    found = read_all(wire.Key, client().get("/keys", owner=owner))
    return Table(found, ("name", "scopes", "endpoints", "expires_at", "used_at", "revoked_at", "id"))


def revoke(key: wire.Key | str) -> None:
    """End a key now, by its id or itself. Ending one that has ended is no error."""
    client().delete(f"/keys/{key if isinstance(key, str) else key.id}", repeatable=True)
