"""Whether the owner of something that goes on by itself may still have it go on."""

from __future__ import annotations

import asyncio

from dure_hub import accounts
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings

UNKNOWN, DISABLED = "owner_unknown", "owner_disabled"


class Owners:
    """Asks the accounts where people log in by password, and the hub about everybody else."""

    def __init__(self, settings: Settings, hub: HubApi) -> None:
        self._settings, self._hub = settings, hub

    async def why_not(self, name: str) -> str | None:
        """None where the person is known and not disabled, else the code that says which.

        Who may log in by a password counts, also before the first login: the hub meets people only then. Raises
        `NotReady` or `HubRefused` where the hub must be asked and cannot: that says nothing about the person.
        """
        account = await asyncio.to_thread(self._account, name)
        if account is not None:
            return DISABLED if account.disabled else None
        return UNKNOWN if await self._hub.user(name) is None else None

    def _account(self, name: str) -> accounts.Account | None:
        by_password = self._settings.auth == "password" and (self._settings.folder.db / "hub.sqlite").exists()
        return accounts.find_user(self._settings, name) if by_password else None
