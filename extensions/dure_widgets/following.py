"""Which job a widget is about: one that is given, one by its name, or whatever another widget launches."""

from __future__ import annotations

from collections.abc import Callable

import traitlets

from dure.errors import BadRequest, Text
from dure.training import Job

Followed = Job | str | traitlets.HasTraits | None
"""A job, the name of one, a widget with a `job` (a launcher, a monitor), or nothing yet."""


def follow(source: Followed, told: Callable[[Job | str | None], None]) -> None:
    """Call `told` with the job that `source` stands for now, and again with each that it stands for later.

    A monitor that was given a name stands for that job before it has looked at it. Raises `BadRequest` for
    anything that stands for no job.
    """
    if isinstance(source, traitlets.HasTraits) and source.has_trait("job"):
        source.observe(lambda change: told(change["new"]), "job")
        told(source.job or getattr(source, "following", None))  # type: ignore[attr-defined] # the line above looked
    elif source is None or isinstance(source, Job | str):
        told(source)
    else:
        raise BadRequest(field="job", value=repr(source)[:80], rule=RULE)


def name_of(job: Job | str | None) -> str | None:
    """A job's name."""
    return job if job is None or isinstance(job, str) else str(job.name)


def state_of(job: Job | str | None) -> str | None:
    """A job's state as last seen, None where only its name is known."""
    return str(job.last_state) if isinstance(job, Job) else None


RULE: Text = {
    "en": "it is a job, the name of one, or a widget that has one (a launcher, a monitor)",
    "ko": "작업, 작업 이름, 또는 작업을 가진 위젯(학습 시작, 작업 보기)이어야 합니다",
}
