"""An organisation with a hub beside it, in the shapes of the hub's API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
from sqlalchemy import select

from dure import wire
from dure_hub.backends.base import Inventory
from dure_hub.hubapi import HubApi
from dure_hub.operations.groups import TeamGroups
from dure_hub.operations.organisation import Organisation
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Profiles
from dure_hub.store.models import Event
from tests.support.money import Books
from tests.support.world import FixedInventory, gpus

ROOT = Person("root", admin=True)


@dataclass
class GroupHub:
    """The hub's groups, in the shapes of its API."""

    groups: dict[str, set[str]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Names that it takes for nobody's."""
    away: bool = False
    dies_after: int | None = None
    """So many writes are answered, and then it is away: as where the portal is killed in between."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if request.method != "GET" and self.dies_after is not None:
            self.dies_after -= 1
            self.away = self.away or self.dies_after < 0
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        _, kind, *rest = request.url.path.removeprefix("/hub/api").split("/")
        if kind == "users" and unquote("/".join(rest)) in self.refused:
            return httpx.Response(400, json={"message": "Invalid username"})
        if kind == "users":
            self.users.add(rest[0])
            return httpx.Response(201, json={})
        if not rest:
            return httpx.Response(200, json=[{"name": n, "users": sorted(u)} for n, u in self.groups.items()])
        return self._group(request, rest[0], rest[1:] == ["users"])

    def _group(self, request: httpx.Request, name: str, of_users: bool) -> httpx.Response:
        if not of_users and request.method == "POST":
            if name in self.groups:
                return httpx.Response(409, json={"message": "exists"})
            self.groups[name] = set()
            return httpx.Response(201, json={})
        if name not in self.groups:
            return httpx.Response(404, json={"message": "No such group"})
        if not of_users:
            del self.groups[name]
            return httpx.Response(204)
        people = set(httpx.Response(200, content=request.content).json()["users"])
        if people - self.users:
            return httpx.Response(400, json={"message": f"No such user: {min(people - self.users)}"})
        self.groups[name] = self.groups[name] | people if request.method == "POST" else self.groups[name] - people
        return httpx.Response(200, json={})


@dataclass
class MemoryPeople:
    """Accounts by name."""

    accounts: dict[str, dict[str, bool]]
    brought: list[str] = field(default_factory=list)

    def listed(self) -> dict[str, dict[str, bool]]:
        """All."""
        return self.accounts

    def bring(self, name: str, administrator: bool, disabled: bool) -> None:
        """As decided."""
        self.accounts[name] = {"administrator": administrator, "disabled": disabled}
        self.brought.append(name)


class Site:
    """The operation on a store with a hub beside it."""

    def __init__(self, books: Books, **more: Any) -> None:
        self.books, self.folder = books, books.settings.folder
        self.settings = books.settings.model_copy(update=more)
        place = FixedInventory(Inventory(cpu_cores=8, memory_mb=32768, devices=tuple(gpus(2))))
        self.profiles = Profiles(self.settings, books.store, books.clock, place)
        self.hub = GroupHub()
        (self.folder.secrets / "portal-token").write_text("secret")
        self.api = HubApi(self.settings, httpx.MockTransport(self.hub.answer))
        self.people = MemoryPeople({"root": {"administrator": True, "disabled": False}})
        self.organisation = self.started()

    def started(self) -> Organisation:
        """A portal's own, as after a restart."""
        groups = TeamGroups(self.settings, self.books.store, self.books.clock, self.api)
        made = Organisation(self.settings, self.books.store, self.books.clock, self.profiles, groups)
        made.people = self.people
        return made

    async def apply(self, text: str, **more: Any) -> wire.OrganisationDiff:
        """As an administrator does."""
        return await self.organisation.put(ROOT, wire.OrganisationRequest(text=text, **more))

    def events(self, verb: str) -> list[str]:
        """Whose events of this kind there are, in order."""
        with self.books.store.reading() as session:
            query = select(Event.object).where(Event.verb == verb).order_by(Event.id)
            return list(session.scalars(query))

    def rows(self, kind: Any) -> list[Any]:
        """Every row of a kind."""
        with self.books.store.reading() as session:
            return list(session.scalars(select(kind)))
