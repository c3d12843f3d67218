"""A job as it runs: state, progress, a curve that moves, the end of its log, Stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from dure.errors import Text
from dure_widgets.controllers.job_monitor import MonitorController
from dure_widgets.following import Followed
from dure_widgets.panel import Panel, assemble
from dure_widgets.portal import Portal


class JobMonitor(Panel):
    """Follow `source`: a job, the name of one, or a launcher, whose every launch is then followed.

    `job` is the job that is followed, None before there is one; it changes with the job's state. Points of the
    curve and pieces of the log are sent once each, as messages; `state` holds the rest. With `bind=False` the
    widget asks nobody; `portal` is whom to ask instead of the environment's.
    """

    _esm = assemble("vendor/uPlot.iife.min.js", "common.js", "curve.js", "job_monitor.js")
    _css = assemble("vendor/uPlot.min.css", "common.css", "job_monitor.css")
    job: Any = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        source: Followed = None,
        *,
        portal: Portal | None = None,
        bind: bool = True,
        language: str | None = None,
    ) -> None:
        self.following: str | None = None
        """The name of the job that is followed, known before it was looked at."""
        super().__init__(language=language, state={"job": None, "over": False})
        if bind:
            MonitorController(self, portal or Portal(), source)

    TEXTS: ClassVar[Mapping[str, Text]] = {
        "title": {"en": "Job", "ko": "작업"},
        "empty": {
            "en": "Nothing to follow yet. A training that is launched appears here.",
            "ko": "아직 진행 중인 작업이 없습니다. 학습을 시작하면 여기에 나타납니다.",
        },
        "looking": {"en": "Looking for {name}…", "ko": "{name} 작업을 찾는 중…"},
        "queued": {"en": "queued", "ko": "대기 중"},
        "starting": {"en": "starting", "ko": "시작 중"},
        "running": {"en": "running", "ko": "실행 중"},
        "succeeded": {"en": "succeeded", "ko": "성공"},
        "failed": {"en": "failed", "ko": "실패"},
        "stopped": {"en": "stopped", "ko": "중지됨"},
        "announce": {"en": "{name}: {state}", "ko": "{name}: {state}"},
        "elapsed": {"en": "Time", "ko": "시간"},
        "waiting": {"en": "Waiting", "ko": "대기 시간"},
        "device": {"en": "Runs on", "ko": "실행 위치"},
        "profile": {"en": "Profile", "ko": "프로필"},
        "lost": {"en": "lost", "ko": "중단됨"},
        "attempts": {"en": "Attempts", "ko": "시도"},
        "attempt": {"en": "{number}: {state}", "ko": "{number}회차: {state}"},
        "ranks": {"en": "{device}, {count} processes", "ko": "{device}, 프로세스 {count}개"},
        "progress": {"en": "Progress", "ko": "진행"},
        "step_of": {"en": "{step} of {all} {unit}", "ko": "{all} {unit} 중 {step}"},
        "step": {"en": "step {step}", "ko": "{step}단계"},
        "curve": {"en": "Metrics", "ko": "지표"},
        "more_metrics": {"en": "{shown} of {count} shown", "ko": "{count}개 중 {shown}개 표시"},
        "no_metrics": {"en": "No metrics yet.", "ko": "아직 지표가 없습니다."},
        "last": {"en": "{name}: {value} at step {step}", "ko": "{name}: {step}단계에서 {value}"},
        "log": {"en": "Log", "ko": "로그"},
        "log_end": {"en": "Its last {count} lines", "ko": "마지막 {count}줄"},
        "no_log": {"en": "Nothing written yet.", "ko": "아직 출력이 없습니다."},
        "to_end": {"en": "Go to the end", "ko": "맨 끝으로"},
        "stop": {"en": "Stop", "ko": "중지"},
        "stop_sure": {"en": "Stop it? Click again", "ko": "중지할까요? 다시 클릭"},
        "stopping": {"en": "Asked to stop…", "ko": "중지 요청됨…"},
    }
