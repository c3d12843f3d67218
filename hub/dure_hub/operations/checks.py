"""What a server's idleness is judged by, each with its state, for its owner to see.

Kernels and terminals are the server's own report; its GPUs are measured by the portal; jobs are what runs on its
slice; requests are what the hub was told of. `in_use`, `idle` and `unknown` are told apart: unknown is neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.backends.base import Measures, Reading
from dure_hub.store.models import Environment, Lease

IN_USE, IDLE, UNKNOWN = "in_use", "idle", "unknown"
REPORTED = ("kernels", "terminals", "pages")
"""What only the server itself can tell."""
ITS_OWN = ("kernels", "terminals")
"""Of these, what works by itself: what people do in pages is known as activity, at the moment they did it."""
GPU = "gpu"
_OLD = timedelta(minutes=5)
"""Servers report once a minute. What is older than this says nothing of now."""
_WHOLE = 1000


def reported(kept: Mapping[str, Any] | None, states: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """What is kept once the server has reported; a state that has not changed keeps its time."""
    found = dict(kept or {})
    for check in REPORTED:
        found = changed(found, check, states.get(check, UNKNOWN), now)
    return {**found, "reported_at": now.isoformat()}


def changed(kept: Mapping[str, Any] | None, check: str, state: str, now: datetime) -> dict[str, Any]:
    """The same with this state, since now if it is another than before."""
    found = dict(kept or {})
    if found.get(check, {}).get("state") != state:
        found[check] = {"state": state, "since": None if state == UNKNOWN else now.isoformat()}
    return found


def state_of(row: Environment, check: str, now: datetime) -> str:
    """What is kept of a check, as far as it still says something."""
    kept = row.checks or {}
    if check in REPORTED and not _is_fresh(kept, now):
        return UNKNOWN
    return str(kept.get(check, {}).get("state", UNKNOWN))


def has_said_idle(row: Environment, now: datetime) -> bool:
    """Whether the server itself says that nothing of it is at work."""
    return all(state_of(row, check, now) == IDLE for check in ITS_OWN)


def has_gpu(slices: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a lease holds a GPU or a part of one."""
    return any(str(piece["device"]) != "cpu" for piece in slices)


def gpu_state(slices: Iterable[Mapping[str, Any]], lease: str, measures: Measures, threshold: float) -> str:
    """Whether a lease computes on its GPUs: above `threshold`, a share from 0 to 1.

    On a GPU or MIG instance of its own, by what that does; on a GPU that several share, by its own processes.
    """
    states = set()
    for piece in slices:
        if str(piece["device"]) != "cpu":
            least, most = _bounds(piece, lease, measures)
            states.add(IN_USE if least > threshold else UNKNOWN if most > threshold else IDLE)
    return next((state for state in (IN_USE, UNKNOWN) if state in states), IDLE if states else UNKNOWN)


def _bounds(piece: Mapping[str, Any], lease: str, measures: Measures) -> tuple[float, float]:
    """How busy a lease keeps this piece of it at least, and at most; from 0 to 1 is unknown."""
    if piece.get("mig") is not None:
        reading = measures.instances.get(str(piece.get("visible") or ""), Reading())
    elif int(piece.get("share", _WHOLE)) < _WHOLE:
        own = measures.own_of(str(piece["device"]), lease)
        return own.least, own.most
    else:
        reading = measures.devices.get(str(piece["device"]), Reading())
    return (0.0, 1.0) if reading.utilisation is None else (reading.utilisation, reading.utilisation)


def on_wire(session: Session, row: Environment, lease: Lease, now: datetime) -> list[dict[str, Any]]:
    """All checks of a running server, as its owner sees them. No GPU, no check of it."""
    kept, names = row.checks or {}, (*((GPU,) if has_gpu(lease.slices) else ()), *REPORTED)
    found = []
    for check in names:
        state = state_of(row, check, now)
        since = None if state == UNKNOWN else kept[check]["since"]
        found.append({"check": check, "state": state, "since": since})
    query = select(Lease.granted_at).where(Lease.parent == lease.id, Lease.ended_at.is_(None))
    begun = session.scalars(query.order_by(Lease.granted_at)).first()
    found.append({"check": "jobs", "state": IDLE if begun is None else IN_USE, "since": begun})
    found.append(_requests(row, now))
    return found


def _requests(row: Environment, now: datetime) -> dict[str, Any]:
    if row.active_at is None:
        return {"check": "requests", "state": UNKNOWN, "since": None}
    return {"check": "requests", "state": IN_USE if now - row.active_at < _OLD else IDLE, "since": row.active_at}


def _is_fresh(kept: Mapping[str, Any], now: datetime) -> bool:
    at = kept.get("reported_at")
    return at is not None and now - datetime.fromisoformat(at) < _OLD
