"""Ids are ULIDs made by the caller, so that a retry is the same request."""

from __future__ import annotations

import os
import re
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID_PATTERN = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def new_id() -> str:
    """A new ULID: 48 bits of milliseconds, 80 random bits, in Crockford's base 32 (github.com/ulid/spec)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -5, -5))


def is_id(text: str) -> bool:
    """Whether `text` is a ULID in its one canonical spelling."""
    return re.fullmatch(ULID_PATTERN, text) is not None
