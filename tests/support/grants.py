"""What a spawner is given where nobody was asked for it."""

from __future__ import annotations

from typing import Any

from dure_hub.operations.environments import Grant


def make_grant(lease: str, **changes: Any) -> Grant:
    """A grant of this lease, of a profile that nobody looks at."""
    given: dict[str, Any] = {"lease": lease, "profile": None, "devices": (), "until": None, **changes}
    return Grant(**given)
