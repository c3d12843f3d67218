"""The four classes of the queue: who goes first, before anything is counted."""

from __future__ import annotations

from collections.abc import Mapping

URGENT_INFERENCE, INFERENCE, INTERACTIVE, TRAINING = range(4)
"""Lower goes first. `INTERACTIVE` is notebooks and fine-tuning."""
NAMES = ("urgent_inference", "inference", "interactive", "training")
"""By class, as they are written in facts and answers."""
NOTEBOOK = "notebook"
"""The one purpose whose work cannot be checkpointed by us."""


POOLS: Mapping[str, str] = {
    "notebook": "development",
    "training": "training",
    "schedule": "training",
    "serving": "inference",
}
"""What a node must be for, by the purpose of who asks; nodes without a pool are for everything."""
POOL_OF_CLASS = ("inference", "inference", "development", "training")
"""The same by class, for purposes that say nothing of it (pods outside)."""


def class_of(purpose: str, urgent: bool = False, fine_tuning: bool = False) -> int:
    """The class of a purpose of leases. A schedule's executions run unattended, and count as training.

    `urgent` says something of serving alone, `fine_tuning` of training and schedules. Raises `ValueError` for a
    purpose that is none.
    """
    if purpose == "serving":
        return URGENT_INFERENCE if urgent else INFERENCE
    if purpose == NOTEBOOK:
        return INTERACTIVE
    if purpose in {"training", "schedule"}:
        return INTERACTIVE if fine_tuning else TRAINING
    raise ValueError(f"{purpose!r} is no purpose of leases")
