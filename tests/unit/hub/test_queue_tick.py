"""Whether a portal keeps Kueue's objects by itself; what it then does is in tests/cluster/test_kueue_kept.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dure_hub.app import operations
from tests.support.money import Books


@pytest.mark.parametrize(
    ("backend", "seconds", "kept"), [("kubernetes", 300, True), ("kubernetes", 0, False), ("embedded", 300, False)]
)
def test_a_portal_keeps_kueue_only_on_a_cluster_and_where_it_is_told_to(
    tmp_path: Path, backend: str, seconds: int, kept: bool
) -> None:
    books = Books(tmp_path / "data")
    changes = {"backend": backend, "server_image": "x", "kueue_apply_s": seconds}
    settings = books.settings.model_copy(update=changes)
    settings.save()
    ops = operations(settings.folder.root)
    tick = ops.reconciler.ticks._ticks.get("kueue")
    assert (tick is not None, tick and tick.interval_s) == (kept, seconds if kept else None)
    asyncio.run(ops.close())
