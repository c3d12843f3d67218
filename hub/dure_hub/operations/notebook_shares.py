"""Copies of single notebooks that colleagues may look at. A copy is a folder of its own, and gone once unshared.

    shares/<id>/notebook.ipynb   as it was when it was shared
    shares/<id>/about.json       whose it is, who may look, of which path

Nothing of it runs anywhere: the portal shows it in a sandbox, with servers shared or not. It is shown while its
owner can log in: once their account is disabled only administrators see it, until it is enabled again.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC
from pathlib import Path, PurePosixPath

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import DureError, NotFound
from dure.wire.ids import ULID_PATTERN, new_id
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.errors import DiskFull
from dure_hub.operations.people import Person
from dure_hub.operations.share_errors import NotebookNotThere, TooManyShares
from dure_hub.operations.workfiles import read_plain, remove, write_private
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import record

LIMIT = 24 << 20
"""Bytes of a notebook that is shared: as much as the portal shows of one."""
MOST = 100
"""Shares of one person."""
_NOTEBOOK, _ABOUT = "notebook.ipynb", "about.json"
NeedColleague = Callable[[str, str], Awaitable[None]]
CanLogIn = Callable[[str], Awaitable[bool]]


class NotebookShares:
    """Everything one can do with them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        need_colleague: NeedColleague,
        can_log_in: CanLogIn,
    ) -> None:
        self._store, self._clock = store, clock
        self._need_colleague, self._can_log_in = need_colleague, can_log_in
        self._users, self._shares = settings.folder.users, settings.folder.shares
        self._minimum_mb = settings.disk_minimum_mb

    async def share(self, person: Person, ask: wire.NotebookShareRequest) -> wire.NotebookShare:
        """Copy a notebook of one's own as it is now, for a colleague to look at.

        Raises `NotFound` for an unknown server, `NoSuchPerson`, `NotebookNotThere`, `TooManyShares`, `DiskFull`.
        """
        if await self._store.read(lambda session: rows.find(session, person.name, ask.environment)) is None:
            raise NotFound(kind="environment", name=ask.environment)
        await self._need_colleague(person.name, ask.person)
        about = {
            "id": new_id(),
            "owner": person.name,
            "environment": ask.environment,
            "path": ask.path,
            "with": ask.person,
            "created_at": self._clock().astimezone(UTC).isoformat(),
        }
        await asyncio.to_thread(self._copy, about)
        try:
            await self._record(person, about, "notebook.share")
        except DureError:
            await asyncio.to_thread(remove, self._shares / about["id"])
            raise
        return _on_wire(about)

    async def list(self, person: Person) -> builtins.list[wire.NotebookShare]:
        """What the person shares and what is shared with them, the newest first."""
        known = await asyncio.to_thread(self._all)
        found = [one for one in known if person.name in (one["owner"], one["with"])]
        others = sorted({one["owner"] for one in found} - {person.name})
        shown = dict(zip(others, await asyncio.gather(*map(self._can_log_in, others)), strict=True))
        return [_on_wire(one) for one in found if shown.get(one["owner"], True)]

    async def get(self, person: Person, share_id: str) -> wire.NotebookShare:
        """One of these, any for administrators. What is none of theirs is `NotFound` like what is not there."""
        return _on_wire(await self._about(person, share_id))

    async def notebook(self, person: Person, share_id: str) -> bytes:
        """The copy."""
        await self._about(person, share_id)
        try:
            return await asyncio.to_thread((self._shares / share_id / _NOTEBOOK).read_bytes)
        except FileNotFoundError as gone:
            raise NotFound(kind="notebook", name=share_id) from gone

    async def unshare(self, person: Person, share_id: str) -> None:
        """Delete the copy, so that nobody can look any more. For its owner and administrators."""
        about = await self._about(person, share_id)
        person.may_act_for(about["owner"])
        await asyncio.to_thread(remove, self._shares / share_id)
        await self._record(person, about, "notebook.unshare")

    async def _about(self, person: Person, share_id: str) -> dict[str, str]:
        about = await asyncio.to_thread(self._read, share_id)
        if about is None or not await self._may_look(person, about):
            raise NotFound(kind="notebook", name=share_id)
        return about

    async def _may_look(self, person: Person, about: dict[str, str]) -> bool:
        if person.admin or person.name == about["owner"]:
            return True
        return person.name == about["with"] and await self._can_log_in(about["owner"])

    def _all(self) -> builtins.list[dict[str, str]]:
        if not self._shares.exists():
            return []
        ids = sorted((place.name for place in self._shares.iterdir()), reverse=True)
        return [about for one in ids if (about := self._read(one)) is not None]

    def _read(self, share_id: str) -> dict[str, str] | None:
        if re.fullmatch(ULID_PATTERN, share_id) is None:  # the rest is a copy that is being made, or was not ended
            return None
        try:
            return dict(json.loads((self._shares / share_id / _ABOUT).read_bytes()))
        except FileNotFoundError:
            return None

    def _copy(self, about: dict[str, str]) -> None:
        if sum(one["owner"] == about["owner"] for one in self._all()) >= MOST:
            raise TooManyShares(limit=MOST)
        content = read_inside(self._users / slug(about["owner"]), about["path"], LIMIT)
        if content is None:
            raise NotebookNotThere(path=about["path"], limit_mb=LIMIT >> 20)
        self._shares.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._need_room()
        unfinished = self._shares / f".{about['id']}"
        unfinished.mkdir(mode=0o700)
        write_private(unfinished / _NOTEBOOK, content)
        write_private(unfinished / _ABOUT, json.dumps(about).encode())
        unfinished.rename(self._shares / about["id"])

    def _need_room(self) -> None:
        free_mb, limit_mb = shutil.disk_usage(self._shares).free >> 20, LIMIT >> 20
        needed_mb = limit_mb + self._minimum_mb
        if free_mb < needed_mb:
            raise DiskFull(free_mb=free_mb, needed_mb=needed_mb, limit_mb=limit_mb, minimum_mb=self._minimum_mb)

    async def _record(self, person: Person, about: dict[str, str], verb: str) -> None:
        behalf = None if person.name == about["owner"] else about["owner"]
        facts = {"code": verb.partition(".")[2], "with": about["with"], "path": about["path"]}

        def write(session: Session) -> None:
            record(session, self._clock, person.name, verb, f"share:{about['id']}", facts, behalf)

        await asyncio.shield(self._store.run(write))


def read_inside(folder: Path, path: str, limit: int) -> bytes | None:
    """A plain notebook file at `path` inside of `folder`, of at most `limit` bytes; None for anything else.

    As `read_plain` reads it.
    """
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\0" in path or not path.endswith(".ipynb"):
        return None
    return read_plain(folder, *parts, limit=limit)


def _on_wire(about: dict[str, str]) -> wire.NotebookShare:
    return wire.NotebookShare.model_validate({**about, "page": f"/services/dure/shared/{about['id']}"})
