"""The monitor's other half: how the job is, and what is new of its metrics and log since the last look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dure import wire
from dure.training import Job
from dure_widgets.controllers.courses import Courses
from dure_widgets.following import Followed, follow, name_of
from dure_widgets.panel import TICK
from dure_widgets.portal import Portal, has_ended, iso, reason

if TYPE_CHECKING:
    from dure_widgets.job_monitor import JobMonitor

LOG_LINES, LONGEST_LINE = 200, 2000
LOG_END = 64 * 1024
"""Bytes from the end at which a view begins that has nothing of the log yet."""
LOG_PAGES = 8
"""Pages of the log that one look reads; of a longer log the next look reads on."""
LENGTHS = ("epochs", "num_epochs", "max_epochs", "steps", "num_steps", "max_steps", "iterations")
"""Parameters that say how long a training is."""


class MonitorController:
    """Binds a monitor to the portal. What the browser has is told by each look, so nothing is sent twice."""

    def __init__(self, panel: JobMonitor, portal: Portal, source: Followed) -> None:
        self._panel, self._portal, self._source = panel, portal, source
        self._name: str | None = None
        self._courses: Courses | None = None
        panel.on_ask(self._heard)
        follow(source, self._switch)

    def _switch(self, job: Job | str | None) -> None:
        self._name, self._courses = name_of(job), None
        self._panel.following = self._name
        self._panel.show(name=self._name, job=None, over=False, progress=None, stopping=False)
        self._panel.job = job if isinstance(job, Job) else None

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        name = self._name
        if name is None:
            return
        has = values if values.get("job") == name else {}
        if verb == "stop":
            self._portal.job_of(self._portal.job(name)).stop()
            self._panel.show(stopping=True)
            self._panel.look_after(lambda: self._look(name, has))
        elif verb == TICK:
            self._look(name, has)

    def _look(self, name: str, has: dict[str, Any]) -> None:
        job = self._portal.job(name)
        news: dict[str, Any] = {"job": name}
        self._panel.show(name=name, job=_shown(job, self._panel.language))
        log_over = self._read_log(job, int(has.get("log") or 0), news)
        try:
            points_over = self._read_points(job, has, news)
        finally:
            # The log is news too where the metrics cannot be had.
            if len(news) > 1:
                self._panel.send({"news": news})
        over = has_ended(job.state) and log_over and points_over
        self._panel.show(over=over, progress=self._progress(job))
        before = self._panel.job
        if before is None or (before.name, before.last_state) != (job.name, job.state):
            self._panel.job = self._portal.job_of(job)

    def _read_log(self, job: wire.Job, has: int, news: dict[str, Any]) -> bool:
        """Add what is new of the log; whether that was all of it. Whoever has nothing yet gets its end."""
        text, at, over, start = "", has or -LOG_END, False, has
        for number in range(LOG_PAGES):
            page = self._portal.log(job.name, at)
            if number == 0:
                start = page.offset
            text, at, over = text + page.text, page.next_offset, page.done
            if over or not page.text:
                break
        if not has and start:
            text = text.partition("\n")[2] or text  # it begins within a line
        if at > has:
            news["log"] = {"from": has, "next": at, "text": tidied(text)}
        return over or (has_ended(job.state) and at == has)

    def _read_points(self, job: wire.Job, has: dict[str, Any], news: dict[str, Any]) -> bool:
        """Add what the browser lacks of each metric that is drawn; whether it then has all."""
        if job.run_id is None:
            return True
        if self._courses is None or self._courses.run != job.run_id:
            self._courses = Courses(self._portal, job.run_id)
        return self._courses.look(has, has_ended(job.state), news)

    def _progress(self, job: wire.Job) -> dict[str, Any] | None:
        """How far it is, where metrics have steps and a parameter says how many there will be."""
        span = None if self._courses is None else self._courses.span()
        if span is None:
            return None
        first, last = span
        done = last + 1 if first == 0 else last  # the first step is called 0 by most, and 1 by some
        defaults: Mapping[str, Any] = getattr(self._source, "defaults", {})
        for name in LENGTHS:
            length = job.parameters.get(name, defaults.get(name))
            # Steps that went past a length are counted in something else, in batches where that is epochs.
            if isinstance(length, int) and not isinstance(length, bool) and length >= max(done, 1):
                return {"step": done, "of": length, "unit": name.split("_")[-1]}
        return {"step": done, "of": None, "unit": ""}


def tidied(text: str) -> str:
    """The last lines as a terminal shows them: what a progress bar wrote over is gone, no line is endless.

    A return at the begin of the first line and at the end of the last one stays: it wipes what came in the piece
    before, or is wiped by what the next one brings.
    """
    lines = text.split("\n")[-LOG_LINES - 1 :]
    last = len(lines) - 1
    for at, line in enumerate(lines):
        bare = line.rstrip("\r")
        _, wipes, seen = bare.rpartition("\r")
        begin, end = wipes if at == 0 else "", "\r" if at == last and bare != line else ""
        lines[at] = begin + seen[:LONGEST_LINE] + end
    return "\n".join(lines)


def _shown(job: wire.Job, language: str) -> dict[str, Any]:
    """A job for the browser."""
    attempts = [
        {"number": one.number, "state": one.state, "exit_code": one.exit_code, "reason": reason(one, language)}
        for one in job.attempts
    ]
    started = [one.started_at for one in job.attempts if one.started_at is not None]
    return {
        "name": job.name,
        "state": job.state,
        "reason": reason(job, language),
        "profile": job.profile,
        "device": job.device,
        "processes": job.processes,
        "attempts": attempts,
        "created_at": iso(job.created_at),
        "started_at": iso(started[-1]) if started else None,
        "ended_at": iso(job.ended_at),
    }
