"""The monitor's other half: how the job is, and what is new of its metrics and log since the last look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dure import wire
from dure.training import Job
from dure_widgets.following import Followed, follow, name_of
from dure_widgets.panel import TICK
from dure_widgets.portal import Portal, has_ended, iso, reason

if TYPE_CHECKING:
    from dure_widgets.job_monitor import JobMonitor

MOST_METRICS = 24
MOST_POINTS = 2000
"""Of one metric in one message; the rest comes with the next look."""
LOG_LINES = 200
LOG_PAGES = 8
"""Pages of the log that one look reads; of a longer log the next look reads on."""
LENGTHS = ("epochs", "num_epochs", "max_epochs", "steps", "num_steps", "max_steps", "iterations")
"""Parameters that say how long a training is."""

Rows = list[tuple[int, float]]


class MonitorController:
    """Binds a monitor to the portal. What the browser has is told by each look, so nothing is sent twice."""

    def __init__(self, panel: JobMonitor, portal: Portal, source: Followed) -> None:
        self._panel, self._portal = panel, portal
        self._name: str | None = None
        self._latest: dict[str, tuple[int, float]] = {}
        self._rows: dict[str, Rows] = {}
        panel.on_ask(self._heard)
        follow(source, self._switch)

    def _switch(self, job: Job | str | None) -> None:
        self._name, self._latest, self._rows = name_of(job), {}, {}
        self._panel.show(name=self._name, job=None, over=False, progress=None, stopping=False)
        self._panel.job = job if isinstance(job, Job) else None

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if self._name is None:
            return
        if verb == "stop":
            self._portal.job_of(self._portal.job(self._name)).stop()
            self._panel.show(stopping=True)
        if verb in (TICK, "stop"):
            self._look(self._name, values if values.get("job") == self._name else {})

    def _look(self, name: str, has: dict[str, Any]) -> None:
        job = self._portal.job(name)
        news: dict[str, Any] = {"job": name}
        self._panel.show(name=name, job=_shown(job, self._panel.language))
        log_over = self._read_log(job, int(has.get("log") or 0), news)
        try:
            points_over = job.run_id is None or self._read_points(job.run_id, has.get("have") or {}, news)
        finally:
            # The log is news too where the metrics cannot be had.
            if len(news) > 1:
                self._panel.send({"news": news})
        over = has_ended(job.state) and log_over and points_over
        self._panel.show(over=over, progress=self._progress(job))
        before = self._panel.job
        if before is None or (before.name, before.last_state) != (job.name, job.state):
            self._panel.job = self._portal.job_of(job)

    def _read_log(self, job: wire.Job, offset: int, news: dict[str, Any]) -> bool:
        """Add what is new of the log; whether that was all of it."""
        text, at, over = "", offset, False
        for _ in range(LOG_PAGES):
            page = self._portal.log(job.name, at)
            text, at, over = text + page.text, page.next_offset, page.done
            if over or not page.text:
                break
        if at != offset:
            news["log"] = {"from": offset, "next": at, "text": "".join(text.splitlines(True)[-LOG_LINES:])}
        return over or (has_ended(job.state) and at == offset)

    def _read_points(self, run: str, have: dict[str, Any], news: dict[str, Any]) -> bool:
        """Add what the browser lacks of each metric; whether it then has all."""
        latest = dict(sorted(self._portal.metrics(run).items())[:MOST_METRICS])
        over, points = True, {}
        for name, last in latest.items():
            if self._latest.get(name) != last:
                self._rows[name] = self._portal.history(run, name)
                over = False  # it moves; a next look sees whether that was the last of it
            rows, start = self._rows.get(name, []), int(have.get(name) or 0)
            start = start if start <= len(rows) else 0
            piece = rows[start : start + MOST_POINTS]
            if piece:
                points[name] = {"from": start, "rows": [[step, _finite(value)] for step, value in piece]}
                over = over and start + len(piece) == len(rows)
        self._latest = latest
        if points:
            news["points"] = points
        return over

    def _progress(self, job: wire.Job) -> dict[str, Any] | None:
        """How far it is, where metrics have steps and a parameter says how many there will be."""
        steps = [(rows[0][0], rows[-1][0]) for rows in self._rows.values() if rows]
        if not steps:
            return None
        first, last = min(step for step, _ in steps), max(step for _, step in steps)
        done = last + 1 if first == 0 else last  # the first step is called 0 by most, and 1 by some
        for name in LENGTHS:
            length = job.parameters.get(name)
            if isinstance(length, int) and not isinstance(length, bool) and length > 0:
                return {"step": min(done, length), "of": length, "unit": name.split("_")[-1]}
        return {"step": done, "of": None, "unit": ""}


def _finite(value: float) -> float | None:
    """JSON has no word for what is not finite; the curve has a gap there."""
    return value if math.isfinite(value) else None


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
