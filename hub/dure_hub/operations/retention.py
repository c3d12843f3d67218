"""How long what executions left on disk is kept: notebook and log of the newest of each schedule.

Rows stay, so the list of a schedule is whole. What a deleted schedule left cannot be reached by its name any more,
and is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations.workfiles import remove
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.models import Execution, Schedule

log = logging.getLogger(__name__)


class Retention:
    """Removes the folders of executions beyond `executions_kept` a schedule."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    async def tidy(self) -> None:
        """One pass. What cannot be removed is tried again in the next one and holds up nothing."""
        if self._settings.folder.closing.exists():
            return
        there = await asyncio.to_thread(self._folders)
        if not there:
            return
        for name in await self._store.read(lambda session: self._over(session, set(there))):
            try:
                await asyncio.to_thread(remove, there[name])
            except OSError:
                log.exception("what execution %s left cannot be removed; tried again in the next pass", name)

    def _folders(self) -> dict[str, Path]:
        return {place.name: place for place in self._settings.folder.executions.iterdir()}

    def _over(self, session: Session, there: set[str]) -> list[str]:
        """Ended ones whose folder is one too many. A folder without a row is nobody's to remove."""
        limit, kept, over = self._settings.executions_kept, Counter[str](), []
        rows = (
            select(Execution.id, Execution.schedule_id, Schedule.deleted_at)
            .join(Schedule, Schedule.id == Execution.schedule_id)
            .where(Execution.ended_at.is_not(None))
            .order_by(Execution.schedule_id, Execution.number.desc())
        )
        for execution, schedule, deleted_at in session.execute(rows):
            if execution not in there:
                continue
            kept[schedule] += 1
            if deleted_at is not None or 0 < limit < kept[schedule]:
                over.append(execution)
        return over
