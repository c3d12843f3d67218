"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass

from dure.errors import NotAllowed

USE = "custom:dure:use"
ADMIN = "custom:dure:admin"


@dataclass(frozen=True)
class Person:
    """The person a request speaks for. `scopes` are the hub's own words."""

    name: str
    admin: bool = False
    scopes: frozenset[str] = frozenset()

    def need_admin(self) -> None:
        """Refuse who is not an administrator."""
        if not self.admin:
            raise NotAllowed(user=self.name, scope=ADMIN)

    def may_act_for(self, owner: str) -> None:
        """Refuse who is neither the owner nor an administrator."""
        if owner != self.name:
            self.need_admin()
