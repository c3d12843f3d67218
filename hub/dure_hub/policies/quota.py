"""How much a user or team may use, and what is left of it.

A GPU is counted in thousandths, so that limits are exact: a share is its thousandths, a MIG instance the larger
of its parts of the GPU's processors and of its memory, which is also what prices it (`thousandths`). GPU time is
whole microseconds times GPUs, as in the ledger. Days and months are those of the clock's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from dure_hub.catalogue.mig import MigGrid
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.catalogue.rates import part_of
from dure_hub.policies.cost import HOUR_US, month
from dure_hub.policies.slices import WHOLE
from dure_hub.policies.verdict import Verdict

MIB = 2**20
NEAR = (80, 100)
"""Percent of a limit at which the team's administrator is told."""


@dataclass(frozen=True)
class Quota:
    """Limits of one user or team (`kind`, `name`: for the sentence alone). None is no limit.

    `gpus` at once, `gpu_hours_month`, `api_calls_day`, `upload_mb_month` (MiB).
    """

    gpus: int | None = None
    gpu_hours_month: int | None = None
    api_calls_day: int | None = None
    upload_mb_month: int | None = None
    kind: str = "user"
    name: str = ""


@dataclass(frozen=True)
class Use:
    """What of these is used: GPUs held now in thousandths, GPU time this month in microseconds (GPUs times time),
    calls today, bytes uploaded this month."""

    gpus: int = 0
    gpu_us: int = 0
    api_calls: int = 0
    upload_bytes: int = 0


def thousandths(profile: ProfileSpec, grid: MigGrid | None = None) -> int:
    """What one holder of this profile counts of GPUs. `grid` is that of its GPU: without it a MIG profile of it
    counts as a whole one, since nobody knows how small it is.

    Of an instance it is the larger of processors and memory, rounded down: seven 1g are not more than one GPU.
    """
    if profile.gpus:
        return WHOLE * profile.gpus
    if profile.mig is None:
        return profile.share
    return of_instance(profile.mig, grid)


def of_instance(mig: str, grid: MigGrid | None) -> int:
    """The same of an instance of this MIG profile."""
    own = grid.named(mig) if grid is not None else None
    if grid is None or own is None:
        return WHOLE
    part, whole = part_of(grid, own)
    return max(WHOLE * part // whole, 1)


def check_start(quota: Quota, use: Use, asked: int, now: datetime, *, beyond: bool = False) -> Verdict:
    """Whether work with `asked` thousandths of GPUs may start now. Work without a GPU always may.

    Codes: `within_quota`; `quota_gpus`, `quota_gpu_hours`, `quota_no_gpu_hours` (a limit of 0: no month has any).
    Where `waits` is true it starts later by itself: when GPUs are given back, or at `resets_at`. With `beyond`
    (the quota is a guarantee and no ceiling: what is over it may be reclaimed) too many GPUs at once are
    `beyond_quota`, and allowed.
    """
    if not asked:
        return Verdict.yes("within_quota", **_whose(quota), asked=0.0)
    if quota.gpu_hours_month == 0:
        facts = _facts(quota, 0, use.gpu_us / HOUR_US, asked / WHOLE, None)
        return Verdict.no("quota_no_gpu_hours", **facts, waits=False)
    if quota.gpu_hours_month is not None and use.gpu_us >= quota.gpu_hours_month * HOUR_US:
        facts = _facts(quota, quota.gpu_hours_month, use.gpu_us / HOUR_US, None, month(now)[1])
        return Verdict.no("quota_gpu_hours", **facts, waits=True)
    if quota.gpus is None:
        return Verdict.yes("within_quota", **_whose(quota), asked=asked / WHOLE)
    facts = _facts(quota, quota.gpus, use.gpus / WHOLE, asked / WHOLE, None)
    if use.gpus + asked <= quota.gpus * WHOLE:
        return Verdict.yes("within_quota", **facts)
    if beyond:
        return Verdict.yes("beyond_quota", **facts)
    return Verdict.no("quota_gpus", **facts, waits=asked <= quota.gpus * WHOLE)


def check_call(quota: Quota, use: Use, now: datetime, asked: int = 1) -> Verdict:
    """Whether `asked` more calls may be answered today. Code `quota_api_calls` if not, until `resets_at`.

    Each limit blocks its own kind of use: a team whose GPU-hours are used up still answers calls.
    """
    limit = quota.api_calls_day
    if limit is not None and use.api_calls + asked > limit:
        facts = _facts(quota, limit, use.api_calls, asked, _tomorrow(now))
        return Verdict.no("quota_api_calls", **facts, waits=False)
    return Verdict.yes("within_quota", **_whose(quota))


def check_upload(quota: Quota, use: Use, asked_bytes: int, now: datetime) -> Verdict:
    """Whether so many bytes may be uploaded. Code `quota_upload` if not (MiB in its facts)."""
    limit = quota.upload_mb_month
    if limit is not None and use.upload_bytes + asked_bytes > limit * MIB:
        facts = _facts(quota, limit, use.upload_bytes / MIB, asked_bytes / MIB, month(now)[1])
        return Verdict.no("quota_upload", **facts, waits=False)
    return Verdict.yes("within_quota", **_whose(quota))


def near(quota: Quota, use: Use) -> dict[str, int]:
    """By limit (named as in `Quota`) the highest of `NEAR` that its use has come to; what is below is left out."""
    pairs = {
        "gpus": (use.gpus, WHOLE, quota.gpus),
        "gpu_hours_month": (use.gpu_us, HOUR_US, quota.gpu_hours_month),
        "api_calls_day": (use.api_calls, 1, quota.api_calls_day),
        "upload_mb_month": (use.upload_bytes, MIB, quota.upload_mb_month),
    }
    found = {}
    for name, (used, unit, limit) in pairs.items():
        # a limit of 0 is no use of its own to warn of: it is refused at once, and says so
        crossed = [percent for percent in NEAR if limit and used * 100 >= percent * limit * unit]
        if crossed:
            found[name] = crossed[-1]
    return found


def _facts(
    quota: Quota, limit: int, used: float, asked: float | None, resets_at: datetime | None
) -> dict[str, Any]:
    resets = None if resets_at is None else resets_at.isoformat()
    return _whose(quota) | {"limit": limit, "used": round(used, 3), "asked": asked, "resets_at": resets}


def _whose(quota: Quota) -> dict[str, Any]:
    return {"kind": quota.kind, "name": quota.name}


def _tomorrow(now: datetime) -> datetime:
    # a midnight is made from its date: adding 24 hours would miss it where clocks are moved
    return datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
