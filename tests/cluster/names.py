"""Names of what tests make on a cluster: each run has a mark of its own, so that nobody's are touched."""

from __future__ import annotations

import secrets

OURS = "dure-test"
MARK = secrets.token_hex(3)
"""Of this run."""
LABEL = f"{OURS}/run"


def prefix(mark: str = MARK) -> str:
    """What the names of a run's namespaces begin with; those of its other objects contain it."""
    return f"{OURS}-{mark}-"


def named(name: str) -> str:
    """This name, as it is in this run: `dure-test-3f2a1c-jobs`."""
    return f"{prefix()}{name}"
