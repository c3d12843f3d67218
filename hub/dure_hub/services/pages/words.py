"""The sentences of the pages, each in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dure.errors import fill
from dure_hub.services.pages.notice_words import SENTENCES as OF_NOTICES
from dure_hub.services.pages.schedule_words import SENTENCES as OF_SCHEDULES
from dure_hub.services.pages.share_words import SENTENCES as OF_SHARES
from dure_hub.services.pages.start_words import SENTENCES as OF_STARTS
from dure_hub.services.pages.trouble_words import SENTENCES as OF_TROUBLE

SENTENCES: dict[str, tuple[str, str]] = {
    # frame
    "skip": ("Skip to content", "본문으로 건너뛰기"),
    "nav.home": ("Home", "홈"),
    "nav.new": ("New server", "새 서버"),
    "nav.mlflow": ("Experiments", "실험"),
    "nav.api": ("API", "API"),
    "nav.admin": ("Users", "사용자"),
    "nav.fleet": ("Fleet", "장비"),
    "nav.servers": ("Servers", "서버"),
    "nav.logout": ("Log out", "로그아웃"),
    "nav.menu": ("Portal", "포털"),
    "nav.language": ("Language", "언어"),
    "footer": ("A team shares its GPUs.", "팀이 함께 쓰는 GPU."),
    "unknown": ("unknown", "알 수 없음"),
    "simulated": (
        "Simulated: none of these GPUs is really there, and what runs computes on this machine's processors.",
        "시뮬레이션: 실제 GPU가 아니며, 실행하는 작업은 이 머신의 CPU로 계산합니다.",
    ),
    # home
    "home.title": ("Home", "홈"),
    "home.hello": ("Hello, {name}", "{name} 님, 안녕하세요"),
    "home.servers": ("My servers", "내 서버"),
    "home.servers.none": ("No server yet", "아직 서버가 없습니다"),
    "home.servers.none.more": (
        "Start one to open JupyterLab. It takes a few seconds when there is room.",
        "서버를 시작하면 JupyterLab이 열립니다. 자리가 있으면 몇 초면 됩니다.",
    ),
    "home.start": ("Start a server", "서버 시작"),
    "home.open": ("Open", "열기"),
    "home.follow": ("Follow", "진행 보기"),
    "home.stop": ("Stop", "중지"),
    "home.stop.named": ("Stop {name}", "{name} 중지"),
    "home.cancel": ("Cancel", "취소"),
    "home.again": ("Start again", "다시 시작"),
    "home.until": ("until", "종료 예정"),
    "home.put_off.machine_slept": ("put off, since the machine slept", "머신이 절전 상태여서 미뤄짐:"),
    "home.put_off.clock_leapt": (
        "put off, since the machine's clock leapt",
        "머신의 시각이 갑자기 바뀌어 미뤄짐:",
    ),
    "home.put_off.portal_away": ("put off, since the portal was away", "포털이 꺼져 있어서 미뤄짐:"),
    "home.put_off.before": ("it was to end", "원래 종료 예정"),
    "home.jobs": ("Training jobs", "학습 작업"),
    "home.jobs.none": ("No jobs yet", "아직 작업이 없습니다"),
    "home.jobs.none.more": ("From a notebook:", "노트북에서:"),
    "home.endpoints": ("Endpoints", "엔드포인트"),
    "home.endpoints.none": ("Nothing is served yet", "아직 서빙 중인 모델이 없습니다"),
    "home.endpoints.none.more": ("Deploy a model version:", "모델 버전을 배포하세요:"),
    "home.models": ("Models", "모델"),
    "home.models.none": ("No models yet", "아직 모델이 없습니다"),
    "home.models.none.more": ("Register what a job has saved:", "작업이 저장한 모델을 등록하세요:"),
    "home.api": ("Use it from a program", "프로그램에서 사용하기"),
    "home.api.notebook": (
        "In a notebook here nothing is needed: import dure, and you are logged in.",
        "이곳의 노트북에서는 준비할 것이 없습니다. import dure만 하면 로그인되어 있습니다.",
    ),
    "home.api.elsewhere": (
        "Elsewhere, install the package from the repository this portal came from, or from a wheel built there "
        "(it is not on PyPI). Then make a token and set two variables:",
        "다른 곳에서는 이 포털을 설치한 저장소나 거기서 만든 wheel로 패키지를 설치하세요(PyPI에는 없습니다). "
        "그다음 토큰을 만들고 변수 두 개를 설정하세요:",
    ),
    "home.api.folder": ("the repository's folder, or its wheel", "저장소 폴더 또는 wheel 파일"),
    "home.api.token": ("Make a token", "토큰 만들기"),
    "home.api.list": ("See every API call", "API 목록 보기"),
    # what is nearly used up
    "near.budget": (
        "The {kind} {name} has spent {used} of its {limit} this month ({percent} %).",
        "{name}({kind})이(가) 이번 달 예산 {limit} 중 {used}을 썼습니다({percent} %).",
    ),
    "near.gpus": (
        "The {kind} {name} holds {used} of {limit} GPUs.",
        "{name}({kind})이(가) GPU {limit}개 중 {used}개를 쓰고 있습니다.",
    ),
    "near.gpu_hours_month": (
        "The {kind} {name} has used {used} of {limit} GPU-hours this month.",
        "{name}({kind})이(가) 이번 달 GPU {limit}시간 중 {used}시간을 썼습니다.",
    ),
    "near.api_calls_day": (
        "The {kind} {name} has made {used} of {limit} API calls today (UTC).",
        "{name}({kind})이(가) 오늘(UTC) API 호출 {limit}회 중 {used}회를 썼습니다.",
    ),
    "near.upload_mb_month": (
        "The {kind} {name} has uploaded {used} of {limit} MiB this month.",
        "{name}({kind})이(가) 이번 달 업로드 {limit} MiB 중 {used} MiB를 썼습니다.",
    ),
    "near.more": ("and {n} more", "외 {n}건"),
    "col.name": ("Name", "이름"),
    "col.state": ("State", "상태"),
    "col.profile": ("Profile", "프로필"),
    "col.when": ("Started", "시작"),
    "col.model": ("Model", "모델"),
    "col.serves": ("Serves", "서빙 버전"),
    "col.version": ("Latest", "최신 버전"),
    "col.aliases": ("Aliases", "별칭"),
    "col.owner": ("Owner", "소유자"),
    "col.address": ("Address", "주소"),
    "home.run": ("Run", "실행 기록"),
    "home.versions": ("version {version}", "버전 {version}"),
    "home.canary": ("canary {version} at {percent} %", "카나리 {version} · {percent} %"),
    # states of servers, jobs and endpoints
    "state.waiting": ("Waiting", "대기 중"),
    "state.queued": ("Waiting", "대기 중"),
    "state.starting": ("Starting", "시작 중"),
    "state.running": ("Running", "실행 중"),
    "state.stopping": ("Stopping", "중지 중"),
    "state.stopped": ("Stopped", "중지됨"),
    "state.succeeded": ("Succeeded", "성공"),
    "state.failed": ("Failed", "실패"),
    "state.ready": ("Ready", "준비됨"),
    "state.degraded": ("Degraded", "일부 장애"),
    # new server
    "spawn.title": ("New server", "새 서버"),
    "spawn.lead": (
        "Choose what your JupyterLab gets. It is yours until its time is over or you stop it.",
        "JupyterLab이 쓸 자원을 고르세요. 시간이 끝나거나 중지할 때까지 내 것입니다.",
    ),
    "spawn.profile": ("Profile", "프로필"),
    "spawn.none": ("This portal offers no profile right now", "지금 제공되는 프로필이 없습니다"),
    "spawn.none.more": (
        "An administrator can run `dure doctor` on the machine to see why.",
        "관리자가 머신에서 `dure doctor`를 실행하면 이유를 알 수 있습니다.",
    ),
    "spawn.cpu": ("CPU", "CPU"),
    "spawn.cores": ("{n} cores", "{n}코어"),
    "spawn.core": ("1 core", "1코어"),
    "spawn.memory": ("Memory", "메모리"),
    "spawn.gpu": ("GPU", "GPU"),
    "spawn.gpu.none": ("none", "없음"),
    "spawn.gpu.share": ("a share of {percent} %", "{percent} % 공유"),
    "spawn.kept": ("GPU memory", "GPU 메모리"),
    "spawn.kept.yes": ("kept for you", "보장됨"),
    "spawn.kept.no": ("agreed, not enforced", "약속이며 강제되지 않음"),
    "spawn.price": ("Price", "가격"),
    "spawn.price.hour": ("{price} an hour", "시간당 {price}"),
    "spawn.free": ("Free now", "지금 사용 가능"),
    "spawn.free.of": ("{free} of {total}", "{total}개 중 {free}개"),
    "spawn.wait": ("you would wait", "대기해야 합니다"),
    "spawn.details": ("Details", "세부 설정"),
    "spawn.name": ("Name", "이름"),
    "spawn.name.help": (
        "Small letters, digits and single hyphens, at most 30. One server for each name.",
        "영문 소문자, 숫자, 하이픈(-)만, 최대 30자. 이름마다 서버가 하나입니다.",
    ),
    "spawn.lifetime": ("Time", "사용 시간"),
    "spawn.lifetime.help": (
        "The server is stopped then. Your files stay.",
        "시간이 지나면 서버가 중지됩니다. 파일은 그대로 남습니다.",
    ),
    "spawn.team": ("Team", "팀"),
    "spawn.team.choose": ("Choose", "선택하세요"),
    "spawn.team.help": (
        "It pays for the server, and for what you start from it.",
        "서버와 그 안에서 시작하는 작업의 비용을 내는 팀입니다.",
    ),
    "spawn.hours": ("{n} hours", "{n}시간"),
    "spawn.hour": ("1 hour", "1시간"),
    "spawn.minutes": ("{n} minutes", "{n}분"),
    "spawn.submit": ("Start", "시작"),
    # waiting
    "wait.title.waiting": ("{name} is waiting", "{name} 대기 중"),
    "wait.title.starting": ("Starting {name}", "{name} 시작 중"),
    "wait.title.running": ("{name} is ready", "{name} 준비됨"),
    "wait.title.stopping": ("Stopping {name}", "{name} 중지 중"),
    "wait.title.stopped": ("{name} is stopped", "{name} 중지됨"),
    "wait.title.failed": ("{name} did not start", "{name} 시작 실패"),
    "wait.waiting": ("Waiting for a free {profile}", "{profile} 자리를 기다리는 중"),
    "wait.starting": ("Your server is starting", "서버를 시작하고 있습니다"),
    "wait.running": ("Your server is ready", "서버가 준비되었습니다"),
    "wait.stopping": ("Your server is being stopped", "서버를 중지하고 있습니다"),
    "wait.stopped": ("This server is stopped", "서버가 중지되었습니다"),
    "wait.failed": ("The server did not start", "서버를 시작하지 못했습니다"),
    "wait.starting.more": (
        "This usually takes a few seconds. The page moves on by itself.",
        "보통 몇 초면 됩니다. 준비되면 자동으로 넘어갑니다.",
    ),
    "wait.starting.pod": (
        "This takes some seconds, and minutes where its node has to fetch the image. The page moves on by itself.",
        "보통 몇 초면 되고, 노드가 이미지를 내려받아야 하면 몇 분 걸립니다. 준비되면 자동으로 넘어갑니다.",
    ),
    "wait.waiting.more": (
        "It starts by itself when there is room. You can close this page; your place is kept.",
        "자리가 나면 자동으로 시작됩니다. 이 페이지를 닫아도 순서는 유지됩니다.",
    ),
    "wait.position": ("Place in line", "대기 순서"),
    "wait.expected": ("Starts at the latest", "늦어도 시작"),
    "wait.asked": ("Asked", "요청 시각"),
    "wait.profile": ("Profile", "프로필"),
    "wait.why": ("Why", "이유"),
    "wait.next": ("{profile} is free now", "지금 바로 쓸 수 있는 프로필: {profile}"),
    "wait.next.more": (
        "Start with it instead; you leave the line.",
        "대신 이 프로필로 시작할 수 있습니다. 대기열에서는 빠집니다.",
    ),
    "wait.next.take": ("Start with {profile}", "{profile} 프로필로 시작"),
    "wait.cancel": ("Cancel", "취소"),
    "wait.open": ("Open it", "열기"),
    "wait.retry": ("Try again", "다시 시도"),
    "wait.home": ("Back to home", "홈으로"),
    "wait.advice": (
        "Try again; if it happens twice, send an administrator the reason above.",
        "다시 시도하세요. 두 번 이상 실패하면 위의 이유를 관리자에게 알려 주세요.",
    ),
    "wait.lost": (
        "The portal does not answer right now. Trying again.",
        "포털이 지금 응답하지 않습니다. 다시 시도합니다.",
    ),
    "wait.noscript": (
        "Reload this page to see how far it is.",
        "진행 상황을 보려면 이 페이지를 새로 고치세요.",
    ),
    # verdicts of a ticket, by code
    "verdict.no_gpu_free": (
        "Every GPU for {profile} is in use ({total} in all).",
        "{profile}용 GPU가 모두 사용 중입니다(전체 {total}개).",
    ),
    "verdict.no_slice_free": (
        "Every slice for {profile} is in use ({total} in all).",
        "{profile}용 슬라이스가 모두 사용 중입니다(전체 {total}개).",
    ),
    "verdict.other_team_shares": (
        "What is free for {profile} lies on GPUs that another team shares, and GPUs are not shared across teams.",
        "{profile}에 남은 자리는 다른 팀이 나누어 쓰는 GPU에 있으며, GPU는 팀끼리 나누어 쓰지 않습니다.",
    ),
    "verdict.no_memory_free": (
        "Memory is short: {profile} needs {asked_mb} MiB, and {free_mb} MiB are free.",
        "메모리가 부족합니다. {profile}에는 {asked_mb} MiB가 필요하고 {free_mb} MiB가 남아 있습니다.",
    ),
    "verdict.no_cores_free": (
        "Cores are short: {profile} needs {asked}, and {free} are free.",
        "코어가 부족합니다. {profile}에는 {asked}개가 필요하고 {free}개가 남아 있습니다.",
    ),
    "verdict.others_wait_longer": (
        "Others go before you for {profile}: teams that have had less lately, then who has waited longer.",
        "{profile} 자리는 최근에 덜 쓴 팀, 그다음 더 오래 기다린 사람이 먼저입니다.",
    ),
    "verdict.quota_gpus": (
        "The quota of the {kind} {name} is {limit} GPUs at once, and {used} are in use.",
        "{name}({kind})은(는) GPU를 동시에 {limit}개까지 쓸 수 있고, 지금 {used}개를 쓰고 있습니다.",
    ),
    "verdict.quota_gpu_hours": (
        "The {limit} GPU-hours of the {kind} {name} are used up for this month.",
        "{name}({kind})의 이번 달 GPU {limit}시간을 모두 썼습니다.",
    ),
    "verdict.quota_no_gpu_hours": (
        "The quota of the {kind} {name} has no GPU-hours; it waits until an administrator gives it some.",
        "{name}({kind})의 GPU 시간 한도가 0입니다. 관리자가 한도를 늘릴 때까지 기다립니다.",
    ),
    "verdict.some_quota": (
        "It waits for the quota of its owner or team.",
        "소유자나 팀의 사용 한도를 기다리고 있습니다.",
    ),
    "verdict.over_budget": (
        "The budget of the {kind} {name} is spent for this month; it waits for the next, or for a larger one.",
        "{name}({kind})의 이번 달 예산을 다 썼습니다. 다음 달이나 예산 증액을 기다립니다.",
    ),
    "verdict.over_budget_cheaper": (
        "What is left of the budget of the {kind} {name} is too little for this profile; a cheaper one would fit.",
        "{name}({kind})의 남은 예산으로는 이 프로필을 쓸 수 없습니다. 더 싼 프로필은 가능합니다.",
    ),
    "verdict.own_notebook_holds": (
        "It waits only for your own server, which holds what it needs: stop that, or choose another profile.",
        "내 서버가 차지한 자리만 기다리고 있습니다. 서버를 끄거나 다른 프로필을 고르세요.",
    ),
    "verdict.profile_away": (
        "{profile} is not there at the moment: its GPU does not answer.",
        "지금은 {profile} 프로필을 쓸 수 없습니다. GPU가 응답하지 않습니다.",
    ),
    # the API's list
    "docs.title": ("API", "API"),
    "docs.lead": (
        "Everything the portal does, at /api/v1 with a token: Authorization: Bearer <token>.",
        "포털의 모든 기능을 /api/v1에서 토큰(Authorization: Bearer <토큰>)으로 쓸 수 있습니다.",
    ),
    "docs.schema": ("OpenAPI document", "OpenAPI 문서"),
    "docs.fields": ("Fields", "항목"),
    "docs.answers": ("Answers", "응답"),
    "docs.required": ("required", "필수"),
    # errors
    "error.title": ("Something is in the way", "진행할 수 없습니다"),
    "error.code": ("Code", "코드"),
    "error.open": ("Open it", "열기"),
    **OF_SCHEDULES,
    **OF_STARTS,
    **OF_TROUBLE,
    **OF_SHARES,
    **OF_NOTICES,
}


def say(key: str, language: str, facts: Mapping[str, Any] | None = None) -> str:
    """The sentence of `key` in the reader's language."""
    english, korean = SENTENCES[key]
    return fill({"en": english, "ko": korean}, language, facts or {})


def has(key: str) -> bool:
    """Whether there is a sentence of this key."""
    return key in SENTENCES
