"""Whether the owner of something that goes on by itself may still have it go on."""

from __future__ import annotations

import asyncio

from dure_hub import accounts
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings

UNKNOWN, DISABLED = "owner_unknown", "owner_disabled"


class Owners:
    """Asks the hub, and the accounts where people log in by password."""

    def __init__(self, settings: Settings, hub: HubApi) -> None:
        self._settings, self._hub = settings, hub

    async def why_not(self, name: str) -> str | None:
        """None where the person is known and not disabled, else the code that says which.

        Raises `NotReady` or `HubRefused` where the hub cannot be asked: that says nothing about the person.
        """
        if await self._hub.user(name) is None:
            return UNKNOWN
        return DISABLED if await asyncio.to_thread(self._disabled, name) else None

    def _disabled(self, name: str) -> bool:
        by_password = self._settings.auth == "password" and (self._settings.folder.db / "hub.sqlite").exists()
        account = accounts.find_user(self._settings, name) if by_password else None
        return account is not None and account.disabled
