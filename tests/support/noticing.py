"""A portal's operations with notices, as app.py puts them together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.noticeapi import NoticeApi
from dure_hub.operations.notice_making import NoticeMaking
from dure_hub.operations.notice_sending import NoticeSending
from dure_hub.operations.notices import Notices
from dure_hub.operations.people import Person
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Delivery, Lease
from tests.support.receivers import Webhook
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)


class Site(World):
    """With notices, as app.py puts them together."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        (self.settings.folder.secrets / "notices-key").write_text("key")
        api = NoticeApi(self.settings)
        making = NoticeMaking(self.settings, self.store, self.clock, self.hub)
        self.sending = NoticeSending(self.settings, self.store, self.clock, api)
        self.notices = Notices(self.settings, self.store, self.clock, making, self.sending, api)

    async def close(self) -> None:
        await self.notices.close()
        await super().close()

    def happens(self, verb: str, thing: str, verdict: dict[str, Any] | None = None, **more: Any) -> None:
        """An event of which nobody was told."""
        with self.store.transaction() as session:
            record(session, self.clock, more.pop("actor", PORTAL), verb, thing, verdict, **more)

    async def told(self, person: Person = ANN) -> list[str]:
        """The sentences for a person, the oldest first, after a pass."""
        await self.notices.making.of_events()
        await self.notices.making.of_ends()
        return [one.text["en"] for one in reversed(await self.notices.list(person))]

    async def sends(self) -> None:
        """Everything that is due, to the end of it."""
        await self.sending.send()
        async with asyncio.timeout(60):
            while tasks := list(self.sending.background._tasks.values()):
                await asyncio.gather(*tasks)

    async def runs_for(self, person: Person, name: str = "default") -> str:
        """A server that runs; its lease."""
        ask = wire.EnvironmentRequest(id=new_id(), name=name, profile="cpu")
        made = await self.environments.request(person, ask)
        assert made.lease is not None
        grant = await self.environments.claim(person.name, "" if name == "default" else name, made.lease.id, None)
        self.servers.put(grant.lease)
        self.jupyterhub.put(person.name, "" if name == "default" else name)
        async with asyncio.timeout(20):
            while (await self.environments.get(person, name)).phase != "running":
                await self.reconciler.look()
                await asyncio.sleep(0.01)
        return grant.lease


def lease_of(site: Site, lease: str) -> Lease:
    with site.store.reading() as session:
        return session.get_one(Lease, lease)


async def channel(site: Site, hook: Webhook, person: Person = ANN) -> wire.NoticeChannel:
    return await site.notices.add(person, wire.NoticeChannelRequest(id=new_id(), url=hook.url))


def deliveries(site: Site) -> list[Delivery]:
    with site.store.reading() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))
