"""People's own Pythons, as the portal has them made: in their homes, and as them where they have accounts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from dure import own_python
from dure_hub.isolation import accounts
from dure_hub.isolation.acting import act_as
from dure_hub.isolation.errors import AccountTaken
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

log = logging.getLogger(__name__)


def ensure(settings: Settings, person: str) -> Path | None:
    """The folder of the person's own Python, made or mended first. Blocks: a hundredth of a second where
    nothing is to do, and no longer than `own_python.PATIENCE_S` or `acting.PATIENCE_S` in the worst case.

    None where it cannot be made (a full disk, something of theirs in its way, another process that holds it): they
    work with the portal's then, since nothing that is in a home may keep its owner out. The log says why. Raises
    `AccountTaken`.
    """
    home, portal = settings.folder.users / slug(person), own_python.here()
    try:
        if not accounts.is_on(settings):
            return own_python.make(home, portal)
        account = accounts.find(settings, person)
        if account is None:
            return None
        own = own_python.place(home)
        if own_python.made_for(own) != portal or not own_python.is_whole(own, portal):
            words = [str(home), portal.python, *portal.packages]
            act_as(account, Path(own_python.__file__), words)
    except AccountTaken:
        raise
    except Exception:
        log.exception("%s has no Python of their own, and works with the portal's", person)
        return None
    return own


def program_of(settings: Settings, person: str) -> str | None:
    """The Python that the person's jobs and notebooks run with, where they have one of their own; mended first."""
    own = own_python.place(settings.folder.users / slug(person))
    if not os.path.lexists(own) or ensure(settings, person) is None:
        return None
    return str(own_python.program(own))


def environment(own: str, path: str) -> Mapping[str, str]:
    """What a process finds that is to work with this Python: its programs come before those of `path`."""
    return {"VIRTUAL_ENV": own, "PATH": f"{own}/bin{os.pathsep}{path}"}
