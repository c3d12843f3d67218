"""What a machine's key may, by its scopes, the part of the portal, and whether it would change anything."""

from __future__ import annotations

from collections.abc import Collection

READ, JOBS, PREDICT, FULL = "read", "jobs", "predict", "full"
SCOPES = (READ, JOBS, PREDICT, FULL)

SEEN = "seen"
"""The area of routes that keys with `read` may see, and none but `full` may change."""


def may(scopes: Collection[str], area: str | None, changes: bool) -> bool:
    """Whether a key with these scopes may ask a route of this area. No area is closed.

    A key with `full` is not judged here: it holds what its owner's own token holds, and no more.
    """
    if area is None:
        return False
    if changes:
        return area == JOBS and JOBS in scopes
    return READ in scopes or (area == JOBS and JOBS in scopes)


def may_predict(scopes: Collection[str], endpoints: Collection[str], endpoint: str) -> bool:
    """Whether a key may ask this served model; one that names no endpoints may ask any."""
    if FULL in scopes:
        return True
    return PREDICT in scopes and (not endpoints or endpoint in endpoints)
