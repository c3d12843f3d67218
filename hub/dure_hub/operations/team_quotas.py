"""How many GPUs each team may hold at once, for a queue outside the portal that is to keep the same."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import organisation_rows
from dure_hub.operations.counters import ANYBODY
from dure_hub.store.models import Quota


def team_gpus(session: Session) -> dict[str, int | None]:
    """Of each team that the portal knows by name; None is no limit.

    A team without a quota of its own has that of everybody. Teams that only a login provider has, and of which
    nobody has set anything here, are not among them.
    """
    rows = {row.name: row.gpus for row in session.scalars(select(Quota).where(Quota.kind == "team"))}
    names = {*organisation_rows.teams(session), *rows} - {ANYBODY}
    return {name: rows[name] if name in rows else rows.get(ANYBODY) for name in sorted(names)}
