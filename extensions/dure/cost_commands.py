"""Commands about money and limits: `dure costs`, `dure budgets`, `dure quotas`."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from dure.display import write
from dure.errors import BadRequest, Text, reader_language

GROUPS = ("user", "team", "project", "profile", "purpose", "day")
HELP = {
    "costs": {"en": "what leases cost, by group", "ko": "그룹별 사용 비용"},
    "budgets": {
        "en": "what teams and projects may spend a month; with three words, set one",
        "ko": "팀과 프로젝트의 월 예산, 단어 셋을 주면 설정",
    },
    "quotas": {
        "en": "how much you and your teams may use; with two words, set one (limits not named are none)",
        "ko": "나와 팀의 사용 한도, 단어 둘을 주면 설정(쓰지 않은 한도는 없어짐)",
    },
    "by": {"en": "the group: " + ", ".join(GROUPS), "ko": "그룹: " + ", ".join(GROUPS)},
    "from": {"en": "from when, as in 2026-11-01", "ko": "시작. 예: 2026-11-01"},
    "to": {"en": "to before when", "ko": "끝(그 시각 전까지)"},
    "zone": {
        "en": "whose days, as in Asia/Seoul, also those of --from and --to; this machine's if not given",
        "ko": "시간대. 없으면 이 머신의 것",
    },
    "forecast": {"en": "what this month will come to", "ko": "이번 달 예상 비용"},
    "recommend": {"en": "what could have cost less", "ko": "줄일 수 있었던 비용"},
    "kind_budget": {"en": "team or project", "ko": "team 또는 project"},
    "kind_quota": {"en": "user or team", "ko": "user 또는 team"},
    "name": {
        "en": "its name; of a project with its team: vision/segmentation",
        "ko": "이름. 프로젝트는 팀과 함께: vision/segmentation",
    },
    "anybody": {
        "en": "its name; * is everybody without a quota of their own",
        "ko": "이름. *는 따로 정하지 않은 모두",
    },
    "amount": {"en": "money a month, or none", "ko": "한 달 금액. none이면 없앰"},
    "gpus": {"en": "GPUs at once", "ko": "동시 GPU 수"},
    "gpu_hours": {"en": "GPU-hours a month", "ko": "한 달 GPU 시간"},
    "api_calls": {"en": "API calls a day", "ko": "하루 API 호출 수"},
    "upload_mb": {"en": "MiB of uploads a month", "ko": "한 달 업로드(MiB)"},
    "server_hours": {"en": "hours that a server may run at most", "ko": "서버를 쓸 수 있는 최대 시간"},
    "remove": {"en": "take the quota away", "ko": "한도를 없앰"},
}
_TIME_RULE: Text = {
    "en": "a time is written as 2026-11-01 or 2026-11-01T09:00+09:00",
    "ko": "시각은 2026-11-01 또는 2026-11-01T09:00+09:00처럼 씁니다",
}

_HOURS_RULE: Text = {"en": "hours are a number, as in 1.5", "ko": "시간은 1.5처럼 수로 씁니다"}


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    costs = _add(subparsers, "costs", _costs)
    costs.add_argument("--by", choices=GROUPS, default="user", help=_help("by"))
    costs.add_argument("--from", dest="start", metavar="TIME", help=_help("from"))
    costs.add_argument("--to", dest="end", metavar="TIME", help=_help("to"))
    costs.add_argument("--zone", help=_help("zone"))
    instead = costs.add_mutually_exclusive_group()
    instead.add_argument("--forecast", action="store_true", help=_help("forecast"))
    instead.add_argument("--recommend", action="store_true", help=_help("recommend"))
    budgets = _add(subparsers, "budgets", _budgets)
    budgets.add_argument("kind", nargs="?", choices=("team", "project"), help=_help("kind_budget"))
    budgets.add_argument("name", nargs="?", help=_help("name"))
    budgets.add_argument("amount", nargs="?", help=_help("amount"))
    quotas = _add(subparsers, "quotas", _quotas)
    quotas.add_argument("kind", nargs="?", choices=("user", "team"), help=_help("kind_quota"))
    quotas.add_argument("name", nargs="?", help=_help("anybody"))
    for limit in ("gpus", "gpu_hours", "api_calls", "upload_mb"):
        quotas.add_argument(f"--{limit.replace('_', '-')}", type=int, metavar="N", help=_help(limit))
    quotas.add_argument("--server-hours", type=float, metavar="H", help=_help("server_hours"))
    quotas.add_argument("--remove", action="store_true", help=_help("remove"))


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.set_defaults(run=run, parser=parser)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _costs(arguments: argparse.Namespace) -> int:
    from dure import costs

    if arguments.forecast:
        write(costs.forecast().text[reader_language()] + "\n")
    elif arguments.recommend:
        for one in costs.recommendations():
            write(f"{one.text[reader_language()]}\n")
    else:
        start, end = _time("--from", arguments.start), _time("--to", arguments.end)
        write(f"{costs.by(arguments.by, start=start, end=end, zone=arguments.zone)!r}\n")
    return 0


def _budgets(arguments: argparse.Namespace) -> int:
    from dure import costs

    if arguments.kind is not None:
        if arguments.amount is None:
            arguments.parser.error("KIND NAME AMOUNT")
        amount = None if arguments.amount == "none" else arguments.amount
        costs.set_budget(arguments.kind, arguments.name, amount)
    write(f"{costs.budgets()!r}\n")
    return 0


def _quotas(arguments: argparse.Namespace) -> int:
    from dure import costs

    limits = {
        "gpus": arguments.gpus,
        "gpu_hours_month": arguments.gpu_hours,
        "api_calls_day": arguments.api_calls,
        "upload_mb_month": arguments.upload_mb,
        "max_lifetime_s": _seconds(arguments),
    }
    named = any(limit is not None for limit in limits.values())
    if (arguments.name is None) is (named or arguments.remove) or (named and arguments.remove):
        limits_of = "[--gpus N] [--gpu-hours N] [--api-calls N] [--upload-mb N] [--server-hours H]"
        arguments.parser.error(f"KIND NAME {limits_of} | --remove")
    if arguments.name is not None:
        costs.set_quota(arguments.kind, arguments.name, **limits)
    write(f"{costs.quotas()!r}\n")
    return 0


def _seconds(arguments: argparse.Namespace) -> int | None:
    """The longest lifetime of a server that was named."""
    hours: float | None = arguments.server_hours
    try:
        return None if hours is None else round(hours * 3600)
    except (ValueError, OverflowError) as error:  # "nan" and "inf" are numbers, too
        raise BadRequest(field="--server-hours", value=arguments.server_hours, rule=_HOURS_RULE) from error


def _time(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise BadRequest(field=flag, value=text, rule=_TIME_RULE) from error
