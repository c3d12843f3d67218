"""What is written of people who come over, all of it in the hub's database: one transaction for each."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from dure_hub import accounts
from dure_hub.policies.importing import Mapped
from dure_hub.settings import Settings

COPYING, PLACING, DONE = "copying", "placing", "done"
"""How far a person came. From `placing` on, a home in its place is the copy, if no copy is beside it any more."""
_IMPORTED = sa.Table(
    "dure_imported",
    sa.MetaData(),
    sa.Column("name", sa.String(31), primary_key=True),
    sa.Column("old", sa.String(255), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
_USERS = sa.table("users", *(sa.column(one) for one in ("id", "name", "admin", "created", "cookie_id")))
_GROUPS = sa.table("groups", *(sa.column(one) for one in ("id", "name", "properties")))
_MEMBERS = sa.table("user_group_map", sa.column("user_id"), sa.column("group_id"))


@dataclass(frozen=True)
class Here:
    """Who is here already: people who came from the old hub by their name here, and all others."""

    imported: dict[str, tuple[str, str]]
    """Of each, the old name, and how far they came."""
    others: Collection[str]
    ready: bool
    """Whether the hub's own tables are there."""


def look(settings: Settings) -> Here:
    """Who is here, without changing anything."""
    if not (settings.folder.db / "hub.sqlite").exists():
        return Here({}, frozenset(), ready=False)
    names = {one.name for one in accounts.list_users(settings)}
    with accounts.opened(settings) as db:
        there = sa.inspect(db)
        ready = there.has_table("users") and there.has_table("user_group_map")
        names |= set(db.scalars(sa.select(_USERS.c.name))) if ready else set()
        rows = list(db.execute(sa.select(_IMPORTED))) if there.has_table("dure_imported") else []
    imported = {row.name: (row.old, row.state) for row in rows}
    # Accounts are made with the last step, so who has one before that came here by themselves.
    ours = {name for name, (_, state) in imported.items() if state == DONE}
    return Here(imported, frozenset(names - ours), ready)


def begin(settings: Settings, one: Mapped) -> None:
    """Say that this person's home is being copied, before the first byte is."""
    with accounts.opened(settings) as db:
        _IMPORTED.create(db, checkfirst=True)
        if db.scalar(sa.select(_IMPORTED.c.name).where(_IMPORTED.c.name == one.name)) is None:
            values = {"name": one.name, "old": one.old.name, "state": COPYING, "at": _now()}
            db.execute(sa.insert(_IMPORTED).values(**values))


def place(settings: Settings, one: Mapped) -> None:
    """Say that the copy is whole and takes its place now."""
    with accounts.opened(settings) as db:
        db.execute(sa.update(_IMPORTED).where(_IMPORTED.c.name == one.name).values(state=PLACING, at=_now()))


def finish(settings: Settings, one: Mapped, actor: str, facts: dict[str, object]) -> None:
    """The account, the hub's person and the teams, at once; the event of it first."""
    from dure_hub.account_end import tell

    assert one.name is not None  # noqa: S101 - who is refused does not come here
    # Nobody knows this password: `dure user reset` gives the person one.
    unknown = accounts.hash_password(secrets.token_urlsafe(32)) if settings.auth == "password" else ""
    with accounts.opened(settings) as db:
        if unknown:
            accounts.insert(db, one.name, unknown, one.old.admin)
        person = db.scalar(sa.select(_USERS.c.id).where(_USERS.c.name == one.name))
        if person is None:
            row = {"name": one.name, "admin": one.old.admin, "created": _now(), "cookie_id": secrets.token_hex(16)}
            db.execute(sa.insert(_USERS).values(**row))
            person = db.scalar(sa.select(_USERS.c.id).where(_USERS.c.name == one.name))
        for group in one.old.groups:
            db.execute(sa.insert(_MEMBERS).values(user_id=person, group_id=_group(db, group)))
        db.execute(sa.update(_IMPORTED).where(_IMPORTED.c.name == one.name).values(state=DONE, at=_now()))
        tell(settings, one.name, "import.person", actor, facts)


def _group(db: sa.Connection, name: str) -> int:
    found: int | None = db.scalar(sa.select(_GROUPS.c.id).where(_GROUPS.c.name == name))
    if found is None:
        db.execute(sa.insert(_GROUPS).values(name=name, properties="{}"))
        found = db.scalar(sa.select(_GROUPS.c.id).where(_GROUPS.c.name == name))
    assert found is not None  # noqa: S101 - it was made in this transaction
    return found


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
