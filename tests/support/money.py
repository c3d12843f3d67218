"""Leases and their use as rows, without what grants them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Lease, UsageHour
from tests.support.world import HandClock

START = datetime(2026, 1, 1, tzinfo=UTC)
H100 = 8_000_000
"""Micro-units an hour."""
HOUR_US = 3_600_000_000
GPU = {"device": "GPU-0", "cpu_cores": 1.0, "memory_mb": 1024}


@pytest.fixture
def books(tmp_path: Path, database: str) -> Iterator[Books]:
    """On either database."""
    made = Books(tmp_path, database)
    yield made
    made.store.close()


class Books:
    """A real store with a clock in the hand, which stands ten days after `START`."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.settings = Settings(data=folder, instance="0" * 12, memory_reserved_mb=0, database_url=database)
        self.settings.folder.create()
        migrate(self.settings)
        self.store = Store(database_url(self.settings))
        self.clock = HandClock(START + timedelta(days=10))

    def lease(self, at_h: float = 0, hours: float | None = 1, **more: Any) -> str:
        """A lease granted so many hours after `START`; without `hours` it is still held."""
        since = START + timedelta(hours=at_h)
        row: dict[str, Any] = {
            "id": new_id(),
            "owner": "ann",
            "purpose": "notebook",
            "subject": "s",
            "profile": "gpu-full",
            "slices": [GPU],
            "rate": H100,
            "gpus": 1000,
            "granted_at": since,
            "until": None if hours is None else since + timedelta(hours=hours),
            "ended_at": None if hours is None else since + timedelta(hours=hours),
            **more,
        }
        with self.store.transaction() as session:
            session.add(Lease(**row))
        return str(row["id"])

    def used(self, lease: str, hour_h: int, busy: float, **more: Any) -> None:
        """One whole hour that was looked at, busy for this share of it."""
        row = {"seen_us": HOUR_US, "known_us": HOUR_US, "busy_us": int(HOUR_US * busy), "samples": 60}
        with self.store.transaction() as session:
            session.add(UsageHour(lease_id=lease, hour=START + timedelta(hours=hour_h), **{**row, **more}))
