"""Values in paths and queries. What no name can be is refused before anything is looked up."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from dure.wire.base import NAME_PATTERN
from dure.wire.ids import ULID_PATTERN

PathName = Annotated[str, Path(pattern=NAME_PATTERN, max_length=30)]
PathDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the upload, in small hex.")]
PathId = Annotated[str, Path(pattern=ULID_PATTERN)]
Offset = Annotated[int, Query(ge=0, le=2**53, description="Byte of the log to begin at.")]
