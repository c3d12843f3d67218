"""`dure token --user NAME`: a token that speaks for a person, made on the portal's own machine."""

from __future__ import annotations

import argparse
import asyncio
import getpass
from collections.abc import Collection

from dure.errors import NotFound
from dure_hub.settings import Settings
from dure_hub.supervisor import prepare

USE, ADMINISTER, METRICS = "custom:dure:use", "custom:dure:admin", "custom:dure:metrics"


def run(arguments: argparse.Namespace) -> int:
    """Print the token alone, so that `DURE_TOKEN=$(dure token --user ana)` works.

    With `--metrics` it reads the metrics and may nothing else, whoever the person is.
    """
    settings = prepare.last_settings(data=arguments.data)
    name = arguments.user or getpass.getuser()
    admin = is_admin(settings, name)
    lifetime = settings.token_lifetime_s if arguments.days is None else round(arguments.days * 86400)
    scopes = {METRICS} if arguments.metrics else {USE, ADMINISTER} if admin else {USE}
    administers = admin and not arguments.metrics
    print(asyncio.run(mint(settings, name, administers, arguments.purpose, lifetime, scopes)))
    return 0


def is_admin(settings: Settings, name: str) -> bool:
    """Whether this account may administer; `NotFound` where there is none that may log in."""
    from dure_hub import authenticator

    if settings.auth != "password":
        return name in settings.oidc_admins
    for person in authenticator.list_users(settings):
        if person.name == name and not person.disabled:
            return person.admin
    raise NotFound(kind="user", name=name)


async def mint(
    settings: Settings, name: str, admin: bool, purpose: str, lifetime_s: int, scopes: Collection[str]
) -> str:
    """A new token; only its digest is kept."""
    from dure_hub.app import operations

    ops = operations(settings.folder.root)
    try:
        _, text = await ops.tokens.mint(
            name, admin=admin, scopes=scopes, purpose=purpose, lifetime_s=lifetime_s, actor=prepare.who_types()
        )
    finally:
        await ops.close()
    return text
