"""Logins as the audit tells them: who came in, and whose name was tried with a wrong password.

What was typed is never told: people type passwords where the name belongs, so a name is told only where there
is an account of it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from dure_hub.operations.audit import UNKNOWN, Audit

LOGIN, FAILED = "login.ok", "login.fail"
PASSWORD = "account.password"  # noqa: S105 - the verb of an event
Hook = Callable[[Any, Any, dict[str, Any]], Awaitable[dict[str, Any]]]


class TypedNames(logging.Filter):
    """Keeps what was typed as a name out of the hub's own line about a login that failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass, that one without the name."""
        if str(record.msg).startswith("Failed login for"):
            record.msg, record.args = "Failed login; if there is such an account, the audit tells of it", ()
        return True


NO_TYPED_NAMES = TypedNames()


def hook(audit: Audit) -> Hook:
    """What JupyterHub calls after every login, of whatever kind."""

    async def after_login(_authenticator: Any, handler: Any, model: dict[str, Any]) -> dict[str, Any]:
        name, facts = str(model["name"]), {"admin": bool(model.get("admin"))} | address_of(handler)
        await audit.note(name, LOGIN, f"user:{name}", {"code": "logged_in", "facts": facts})
        return model

    return after_login


def failed(audit: Audit, handler: Any, name: str | None, code: str) -> None:
    """A login did not come about; `name` only where there is such an account.

    The writing is not waited for: how long it takes would tell whoever guesses whether there is one.
    """
    thing = f"user:{UNKNOWN if name is None else name}"
    verdict = {"code": code, "facts": address_of(handler)}
    audit.note_soon(UNKNOWN, FAILED, thing, verdict, name=thing)


def address_of(handler: Any) -> dict[str, str]:
    """Where it came from, as far as Envoy says."""
    address = getattr(getattr(handler, "request", None), "remote_ip", None)
    return {"address": str(address)[:64]} if address else {}
