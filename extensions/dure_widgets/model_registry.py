"""The versions of a model: metrics, lineage, aliases; and a button that registers a job's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import traitlets

from dure.errors import Text
from dure_widgets.controllers.model_registry import RegistryController
from dure_widgets.following import Followed
from dure_widgets.panel import Panel, assemble
from dure_widgets.portal import Portal


class ModelRegistry(Panel):
    """The versions of the model `name`, and the job that can become its next one.

    `job` is a job, the name of one, or a monitor or launcher whose job is meant. `model` is the name that is shown
    now; it changes where people register under another. With `bind=False` the widget asks nobody; `portal` is whom
    to ask instead of the environment's.
    """

    _esm = assemble("common.js", "model_registry.js")
    _css = assemble("common.css", "serving.css")
    model = traitlets.Unicode()

    def __init__(
        self,
        name: str,
        *,
        job: Followed = None,
        portal: Portal | None = None,
        bind: bool = True,
        language: str | None = None,
    ) -> None:
        super().__init__(language=language, model=name, state={"model": name, "versions": None, "job": None})
        if bind:
            RegistryController(self, portal or Portal(), job)

    TEXTS: ClassVar[Mapping[str, Text]] = {
        "title": {"en": "Model {name}", "ko": "모델 {name}"},
        "not_known": {"en": "Its versions are not known yet.", "ko": "버전 정보를 아직 받지 못했습니다."},
        "empty": {
            "en": "No version yet. A job that has succeeded can be registered as the first one.",
            "ko": "아직 버전이 없습니다. 성공한 작업을 첫 버전으로 등록할 수 있습니다.",
        },
        "versions": {"en": "Versions of {name}", "ko": "{name}의 버전"},
        "version": {"en": "Version", "ko": "버전"},
        "aliases": {"en": "Aliases", "ko": "별칭"},
        "metrics": {"en": "Metrics", "ko": "지표"},
        "owner": {"en": "Owner", "ko": "소유자"},
        "created": {"en": "Registered", "ko": "등록"},
        "lineage": {"en": "Lineage of version {version}", "ko": "버전 {version}의 계보"},
        "details": {"en": "Lineage", "ko": "계보"},
        "tag_job": {"en": "Job", "ko": "작업"},
        "tag_git_commit": {"en": "Commit", "ko": "커밋"},
        "tag_snapshot": {"en": "Code snapshot", "ko": "코드 스냅샷"},
        "tag_device": {"en": "Trained on", "ko": "학습 장치"},
        "tag_profile": {"en": "Profile", "ko": "프로필"},
        "tag_processes": {"en": "Processes", "ko": "프로세스 수"},
        "tag_entry": {"en": "Entry", "ko": "진입점"},
        "tag_run": {"en": "MLflow run", "ko": "MLflow 실행"},
        "register": {"en": "Register", "ko": "등록"},
        "register_title": {"en": "Register a job", "ko": "작업 등록"},
        "register_name": {"en": "As a version of", "ko": "모델 이름"},
        "no_job": {
            "en": "No job to register yet: launch a training first.",
            "ko": "등록할 작업이 없습니다. 먼저 학습을 시작하세요.",
        },
        "job_state": {"en": "Job {name}: {state}", "ko": "작업 {name}: {state}"},
        "not_yet": {
            "en": "It can be registered when it has succeeded.",
            "ko": "성공하면 등록할 수 있습니다.",
        },
        "is_version": {"en": "It is version {version}.", "ko": "버전 {version}(으)로 등록되어 있습니다."},
        "registered": {"en": "Registered as version {version}", "ko": "버전 {version}(으)로 등록했습니다"},
        "alias_title": {"en": "Give an alias", "ko": "별칭 지정"},
        "alias": {"en": "Alias", "ko": "별칭"},
        "set_alias": {"en": "Set alias", "ko": "별칭 지정"},
        "alias_set": {"en": "{alias} is version {version}", "ko": "{alias}: 버전 {version}"},
        "queued": {"en": "queued", "ko": "대기 중"},
        "starting": {"en": "starting", "ko": "시작 중"},
        "running": {"en": "running", "ko": "실행 중"},
        "succeeded": {"en": "succeeded", "ko": "성공"},
        "failed": {"en": "failed", "ko": "실패"},
        "stopped": {"en": "stopped", "ko": "중지됨"},
    }
