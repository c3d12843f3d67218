"""This portal's machines: every device with its holders, or processors and memory where there is no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dure.errors import Text
from dure_widgets.administration import Administration
from dure_widgets.controllers.fleet_view import FleetController
from dure_widgets.panel import Panel, assemble


class FleetView(Panel):
    """Devices, processors and memory with who holds how much, for administrators; it looks again by itself.

    `portal` is whom to ask instead of the environment's portal; with `bind=False` the view asks nobody and shows
    the `fleet` of its `state`, a `dure.wire.Fleet` as JSON, or None while it is not known.
    """

    _esm = assemble("common.js", "fleet_view.js")
    _css = assemble("common.css", "fleet_view.css")

    def __init__(
        self, *, portal: Administration | None = None, bind: bool = True, language: str | None = None
    ) -> None:
        super().__init__(language=language, state={"fleet": None})
        if bind:
            FleetController(self, portal or Administration())

    TEXTS: ClassVar[Mapping[str, Text]] = {
        "title": {"en": "Devices", "ko": "장치"},
        "waiting": {"en": "Looking at what there is…", "ko": "장비 상태를 확인하는 중…"},
        "simulated": {"en": "simulated", "ko": "시뮬레이션"},
        "seen": {"en": "as of {time}", "ko": "{time} 기준"},
        "no_gpu": {"en": "No GPU", "ko": "GPU 없음"},
        "memory": {"en": "Memory", "ko": "메모리"},
        "utilisation": {"en": "Utilisation", "ko": "사용률"},
        "temperature": {"en": "Temperature", "ko": "온도"},
        "power": {"en": "Power", "ko": "전력"},
        "of": {"en": "{used} of {total}", "ko": "{total} 중 {used}"},
        "use_unknown": {"en": "{total}, use unknown", "ko": "{total}, 사용량 알 수 없음"},
        "machine": {"en": "In all", "ko": "전체"},
        "cpu": {"en": "CPU", "ko": "CPU"},
        "core": {"en": "{count} core", "ko": "코어 {count}개"},
        "cores": {"en": "{count} cores", "ko": "코어 {count}개"},
        "cores_of": {"en": "{used} of {total}", "ko": "{total} 중 {used}개"},
        "promised": {"en": "promised", "ko": "보장"},
        "used": {"en": "used", "ko": "사용"},
        "holders": {"en": "Holders", "ko": "사용 중인 사람"},
        "nobody": {"en": "Nobody holds anything.", "ko": "사용 중인 사람이 없습니다."},
        "free": {"en": "free", "ko": "비어 있음"},
        "state_unhealthy": {"en": "unhealthy", "ko": "결함"},
        "state_cordoned": {"en": "in maintenance", "ko": "점검 중"},
        "state_draining": {"en": "being cleared", "ko": "비우는 중"},
        "state_drained": {"en": "cleared", "ko": "비움"},
        "state_used_outside": {"en": "used outside Dure", "ko": "Dure 밖에서 사용 중"},
        "back_by": {"en": "back by {time}", "ko": "{time} 복귀 예정"},
        "clear_by": {"en": "clear by {time}", "ko": "{time}까지 비움"},
        "who": {"en": "Who", "ko": "사용자"},
        "what": {"en": "What", "ko": "용도"},
        "profile": {"en": "Profile", "ko": "프로필"},
        "since": {"en": "Since", "ko": "시작"},
        "until": {"en": "Until", "ko": "종료 예정"},
        "no_end": {"en": "no end", "ko": "끝 없음"},
        "used_promised": {"en": "{used} used, {promised} promised", "ko": "사용 {used}, 보장 {promised}"},
        "unknown_promised": {"en": "{promised} promised, use unknown", "ko": "보장 {promised}, 사용량 알 수 없음"},
        "notebook": {"en": "server", "ko": "서버"},
        "training": {"en": "job", "ko": "작업"},
        "serving": {"en": "endpoint", "ko": "엔드포인트"},
        "schedule": {"en": "schedule", "ko": "일정"},
        "allocation": {"en": "pod outside", "ko": "외부 파드"},
    }
