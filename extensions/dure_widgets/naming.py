"""Names that carry one's own, since models and endpoints share theirs with the whole portal."""

from __future__ import annotations

import re

from dure.account import whoami
from dure.errors import DureError

LONGEST = 30


def own_name(base: str) -> str:
    """`base` with your name behind it, as a model or an endpoint may be called: "digits-ana".

    Without a portal that says who you are it is `base` alone; the widgets say what is missing.
    """
    try:
        me = re.sub("[^a-z0-9]+", "-", whoami().name.lower()).strip("-")
    except DureError:
        me = ""
    return f"{base}-{me}"[:LONGEST].rstrip("-")
