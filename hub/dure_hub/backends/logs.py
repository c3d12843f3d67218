"""Pieces of a log, as every backend cuts them. All others import them from `base`."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from typing import IO

LONGEST_CHARACTER = 4
"""Bytes: fewer are never read of a log, so that who reads on always gets on."""


@dataclass(frozen=True)
class LogPiece:
    """Bytes `offset` to `next_offset` of a log as text."""

    text: str
    offset: int
    next_offset: int


def begin(log: IO[bytes], offset: int) -> int:
    """The byte that an `offset` means: below 0 it counts from the end, on to the next character."""
    at = max(log.seek(0, os.SEEK_END) + offset, 0) if offset < 0 else offset
    log.seek(at)
    first = log.read(4) if offset < 0 and at else b""
    return at + next((number for number, byte in enumerate(first) if byte & 0xC0 != 0x80), len(first))


def piece_of(data: bytes, offset: int) -> LogPiece:
    """What was read of a log at `offset`. A character whose rest comes later is left to the next piece."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    begun, _ = decoder.getstate()
    return LogPiece(text, offset, offset + len(data) - len(begun))
