"""Logins that somebody else checks: an OIDC provider or a directory, and the same people asked about again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dure_hub.operations import Operations


def authenticator_of(ops: Operations) -> type[Any]:
    """JupyterHub's authenticator of this portal."""
    if ops.settings.auth == "oidc":
        from dure_hub.logins.oidc import DureOidc

        return type("DureOidc", (DureOidc,), {"ops": ops})
    if ops.settings.auth == "ldap":
        from dure_hub.logins.ldap import DureLdap

        return type("DureLdap", (DureLdap,), {"ops": ops})
    from dure_hub.authenticator import DureAuthenticator

    return DureAuthenticator
