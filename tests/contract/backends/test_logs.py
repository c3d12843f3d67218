"""Logs as every backend hands them out: in pieces, from the end, and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.backends.base import Handle, Kind
from tests.contract.backends.kit import Place

ALL = pytest.mark.parametrize("kind", list(Kind))


@ALL
async def test_a_log_is_kept_byte_for_byte_and_read_from_its_end(place: Place, kind: Kind, tmp_path: Path) -> None:
    handle = await place.start(place.work(kind, "exit 3"))
    await place.ended(handle)
    backend = place.runs(kind)
    text, offset = "", 0
    while (piece := await backend.log(handle, offset, 100)).next_offset != offset:
        text, offset = text + piece.text, piece.next_offset
    assert len(text) > 20
    target = tmp_path / "log"
    await backend.keep_log(handle, target)
    assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o600
    assert await backend.tail(handle, 20) == text.encode()[-20:].decode()
    assert await backend.tail(handle, 1 << 20) == text
    end = await backend.log(handle, -20, 100)
    assert (end.text, end.offset, end.next_offset) == (text.encode()[-20:].decode(), offset - 20, offset)
    assert (await backend.log(handle, -(1 << 20), 100)).offset == 0


@ALL
async def test_without_a_log_there_is_an_empty_one(place: Place, kind: Kind, tmp_path: Path) -> None:
    nobody = Handle("01J00000000000000000000000", kind)
    await place.runs(kind).keep_log(nobody, tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b""
    assert await place.runs(kind).tail(nobody, 100) == ""
