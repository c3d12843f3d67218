"""Whether the owner of something that goes on by itself may still have it go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from dure_hub import accounts
from dure_hub.hubapi import HubApi
from dure_hub.settings import Settings

UNKNOWN, DISABLED, LEFT_TEAM, LOST_PROFILE = (
    "owner_unknown", "owner_disabled", "owner_left_team", "owner_lost_profile",
)  # fmt: skip


class Owners:
    """Asks the accounts where people log in by password, and the hub about everybody else."""

    def __init__(self, settings: Settings, hub: HubApi) -> None:
        self._settings, self._hub = settings, hub

    async def why_not(
        self, name: str, team: str | None = None, groups: Collection[str] = frozenset()
    ) -> str | None:
        """None where the person is known, not disabled, in the `team` that pays and in one of the `groups` that a
        profile is for (none: for everybody), else the code that says which.

        An administrator may have any team pay, and any profile.

        Who may log in by a password counts, also before the first login: the hub meets people only then. Raises
        `NotReady` or `HubRefused` where the hub must be asked and cannot: that says nothing about the person.
        """
        account = await asyncio.to_thread(self._account, name)
        if account is not None and account.disabled:
            return DISABLED
        if account is not None and (account.admin or (team is None and not groups)):
            return None
        user = await self._hub.user(name)
        if user is None and account is None:
            return UNKNOWN
        known = user or {}
        own = known.get("groups", ())
        if known.get("admin"):
            return None
        if team is not None and team not in own:
            return LEFT_TEAM
        return None if not groups or any(group in own for group in groups) else LOST_PROFILE

    def _account(self, name: str) -> accounts.Account | None:
        by_password = self._settings.auth == "password" and (self._settings.folder.db / "hub.sqlite").exists()
        return accounts.find_user(self._settings, name) if by_password else None
