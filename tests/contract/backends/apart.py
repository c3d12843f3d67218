"""A place of the conformance suite where everything is its owner's: people have accounts of the system."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Kind, ServerWork
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.isolation import accounts
from dure_hub.policies.naming import account_name
from dure_hub.settings import Settings
from tests.contract.backends.kit import EmbeddedPlace
from tests.support.accounts import Ground

PROGRAM = "attempts"
REFUSED = ("PermissionError", "FileNotFoundError", "ConnectionRefusedError")


class ApartPlace(EmbeddedPlace):
    """Processes of this machine, each its owner's."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.folder)
        self.ground = ground
        self.settings = Settings(
            data=ground.folder / "data",
            instance=os.urandom(6).hex(),
            system_accounts="on",
            system_account_prefix=ground.prefix,
        )
        self.settings.folder.create()
        (self.code / f"{PROGRAM}.py").write_text((Path(__file__).parent / f"{PROGRAM}.py").read_text())
        for path in (self.code, *self.code.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def servers(self) -> EmbeddedServers:
        return EmbeddedServers(self.settings, program=PROGRAM)

    async def server(
        self, owner: str, *attempts: tuple[str, Any], **changes: Any
    ) -> tuple[Handle, dict[str, Any]]:
        """A server of somebody's that tries these, and what it says."""
        home = self.settings.folder.users / owner
        accounts.ensure(self.settings, owner)
        environment = self.environment(*attempts) | {"HOME": str(home), **changes.pop("environment", {})}
        work = ServerWork(
            lease=new_id(),
            owner=owner,
            folder=home,
            environment=environment,
            command=[sys.executable, "-P", "-m", PROGRAM],
            api_token=f"token-of-{owner}",
            **changes,
        )
        handle = await self.start(work)
        return handle, await self.facts(handle)

    def environment(self, *attempts: tuple[str, Any]) -> dict[str, str]:
        """That of everything here."""
        return {
            **self.ground.environment,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(self.code),
            "ATTEMPTS": json.dumps(attempts),
        }

    def user(self, person: str) -> pwd.struct_passwd:
        """Somebody's account as the system has it."""
        return pwd.getpwnam(account_name(self.ground.prefix, person))

    async def end_all(self) -> None:
        """Stop everything, and see that nothing of it is left behind."""
        for kind in Kind:
            backend = self.runs(kind)
            for seen in await backend.seen():
                await backend.stop(seen.handle, 0)
                await backend.forget(seen.handle)
        assert self.marked() == {}
        assert list(self.settings.folder.given.iterdir()) == []
