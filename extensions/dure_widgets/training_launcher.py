"""A form that launches a training: its parameters, a profile, and a plan before anything is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import traitlets

from dure.errors import Text
from dure_widgets.controllers.payer import TEXTS as PAYER_TEXTS
from dure_widgets.controllers.payer import given
from dure_widgets.controllers.training_launcher import Launch, LauncherController
from dure_widgets.entries import shown
from dure_widgets.panel import TICK, Panel, assemble
from dure_widgets.portal import Portal


class TrainingLauncher(Panel):
    """Launch `entry`, a function of this notebook or a file: `"train.py"`, `"train.py:main"`.

    The form is made from the entry's own signature, and what is not touched in it is left to the entry's own
    defaults. `parameters` are values to begin with; `BadRequest` where the entry cannot take one. `profile`,
    `processes` and `name` are what is chosen at first, and so are `team` and `project`, which pay for it: a team
    is asked for where you are in several. `files` and `experiment` go to `dure.train` as they are.
    `job` is the job that was launched last, None before.

    `portal` is whom to ask instead of the environment's portal; with `bind=False` the widget asks nobody, and
    shows and tells what you give and take by `state` and `on_ask`.
    """

    BY_ITSELF: ClassVar[frozenset[str]] = frozenset({TICK, "plan"})
    UNSHOWN: ClassVar[frozenset[str]] = frozenset({TICK, "plan"})
    _esm = assemble("common.js", "payer.js", "training_launcher.js")
    _css = assemble("common.css", "training_launcher.css")
    job: Any = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        entry: Callable[..., Any] | str | Path,
        *,
        profile: str = "cpu",
        processes: int | None = None,
        name: str = "",
        parameters: Mapping[str, Any] | None = None,
        files: Sequence[str | Path] | None = None,
        experiment: str = "default",
        team: str | None = None,
        project: str | None = None,
        portal: Portal | None = None,
        bind: bool = True,
        language: str | None = None,
    ) -> None:
        chosen = {
            "profile": profile,
            "processes": processes,
            "name": name,
            "payer": given(team, project),
            "parameters": {name: shown(value) for name, value in (parameters or {}).items()},
        }
        state: dict[str, Any] = {
            "chosen": chosen,
            "fields": [],
            "profiles": None,
            "plan": None,
            "payer": None,
            "wrong": {},
            "launched": None,
        }
        self.defaults: Mapping[str, Any] = {}
        """What the entry itself takes for a parameter that is not given."""
        super().__init__(language=language, state=state)
        if bind:
            LauncherController(self, portal or Portal(), Launch(entry, files, experiment, dict(parameters or {})))

    TEXTS: ClassVar[Mapping[str, Text]] = {
        **PAYER_TEXTS,
        "title": {"en": "Train {entry}", "ko": "{entry} 학습"},
        "parameters": {"en": "Parameters", "ko": "매개변수"},
        "no_parameters": {"en": "It takes none.", "ko": "매개변수가 없습니다."},
        "required": {"en": "required", "ko": "필수"},
        "empty_is_none": {"en": "empty: None", "ko": "비우면 None"},
        "default": {"en": "default {value}", "ko": "기본값 {value}"},
        "number_wrong": {"en": "{name} needs a number; this is none.", "ko": "{name}에는 숫자가 필요합니다."},
        "more": {"en": "Other values", "ko": "그 밖의 값"},
        "more_help": {
            "en": "Each is given as a name and a value.",
            "ko": "이름과 값을 하나씩 넘깁니다.",
        },
        "add": {"en": "Add a value", "ko": "값 추가"},
        "remove_row": {"en": "Remove this value", "ko": "이 값 삭제"},
        "value_name": {"en": "Name", "ko": "이름"},
        "value": {"en": "Value", "ko": "값"},
        "profile": {"en": "Profile", "ko": "프로필"},
        "profiles_unknown": {"en": "Profiles are not known yet.", "ko": "프로필 정보를 아직 받지 못했습니다."},
        "free": {"en": "{free} of {total} free", "ko": "{total}개 중 {free}개 비어 있음"},
        "free_unknown": {"en": "free: unknown", "ko": "빈 자리: 알 수 없음"},
        "price": {"en": "price: {price}", "ko": "가격: {price}"},
        "cores": {"en": "{count} cores", "ko": "코어 {count}개"},
        "gpus": {"en": "{count} × {model}", "ko": "{model} {count}개"},
        "options": {"en": "Options", "ko": "선택 사항"},
        "processes": {"en": "Processes", "ko": "프로세스 수"},
        "processes_help": {"en": "empty: the portal chooses", "ko": "비우면 포털이 정합니다"},
        "name": {"en": "Name of the job", "ko": "작업 이름"},
        "name_help": {"en": "empty: made from the entry", "ko": "비우면 자동으로 정합니다"},
        "plan": {"en": "Before you launch", "ko": "시작하기 전에"},
        "holds": {"en": "It will hold", "ko": "차지하는 자원"},
        "costs": {"en": "It costs", "ko": "비용"},
        "starts": {"en": "It starts", "ko": "시작"},
        "now": {"en": "now", "ko": "바로"},
        "at_latest": {"en": "{time} at the latest", "ko": "늦어도 {time}"},
        "position": {"en": "place {position} in the line", "ko": "대기 순서 {position}번째"},
        "next_best": {"en": "{profile} is free now.", "ko": "{profile} 프로필은 지금 비어 있습니다."},
        "processes_plan": {"en": "processes: {count}", "ko": "프로세스 {count}개"},
        "processes_auto": {"en": "processes: the portal chooses", "ko": "프로세스 수: 포털이 결정"},
        "launch": {"en": "Launch", "ko": "학습 시작"},
        "launching": {"en": "Sending the code…", "ko": "코드를 보내는 중…"},
        "launched": {"en": "Launched: {name}", "ko": "시작됨: {name}"},
        "correct": {"en": "Correct what is marked.", "ko": "표시된 값을 고쳐 주세요."},
    }
