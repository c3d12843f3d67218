"""Which job a widget is about: one that is given, one by its name, or whatever another widget launches."""

from __future__ import annotations

from collections.abc import Callable

import traitlets

from dure.training import Job

Followed = Job | str | traitlets.HasTraits | None
"""A job, the name of one, a widget with a `job` (a launcher, a monitor), or nothing yet."""


def follow(source: Followed, told: Callable[[Job | str | None], None]) -> None:
    """Call `told` with the job that `source` stands for now, and again with each that it stands for later."""
    if isinstance(source, traitlets.HasTraits):
        source.observe(lambda change: told(change["new"]), "job")
        told(source.job)  # type: ignore[attr-defined] # launcher and monitor have it; others are refused by observe
    else:
        told(source)


def name_of(job: Job | str | None) -> str | None:
    """A job's name."""
    return job if job is None or isinstance(job, str) else str(job.name)


def state_of(job: Job | str | None) -> str | None:
    """A job's state as last seen, None where only its name is known."""
    return str(job.last_state) if isinstance(job, Job) else None
