"""Values in paths and queries. What no name can be is refused before anything is looked up."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from dure.wire.base import NAME_PATTERN
from dure.wire.ids import ULID_PATTERN

PathName = Annotated[str, Path(pattern=NAME_PATTERN, max_length=30)]
PathDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the upload, in small hex.")]
PathId = Annotated[str, Path(pattern=ULID_PATTERN)]
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""One line of text: nothing that controls a terminal, breaks a line or turns its direction."""
Owner = Annotated[
    str | None,
    Query(min_length=1, max_length=255, pattern=TEXT_PATTERN, description="Whose it is; for administrators."),
]
OfTeam = Annotated[
    str | None,
    Query(min_length=1, max_length=100, pattern=TEXT_PATTERN, description="What is charged to it; for its leads."),
]
Why = Annotated[
    str | None, Query(max_length=200, pattern=TEXT_PATTERN, description="Why, in words that its owner will read.")
]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Byte of the log to begin at.")]
SignedOffset = Annotated[
    int, Query(ge=-(2**53), le=2**53, description="Byte of the log to begin at; below 0 it counts from the end.")
]
