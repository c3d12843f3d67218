"""Commands over the API, for those who are not in a notebook: `dure train`, `jobs`, `logs`, `models`, …"""

from __future__ import annotations

import argparse
import json
from typing import Any

from dure.display import write
from dure.errors import BadRequest, reader_language

HELP = {
    "train": {"en": "train a file outside of this terminal", "ko": "파일을 작업으로 학습"},
    "jobs": {"en": "your jobs; with a name, one of them", "ko": "내 작업 목록, 이름을 주면 그 작업"},
    "logs": {"en": "the log of a job", "ko": "작업 로그"},
    "models": {"en": "models; with a name, its versions", "ko": "모델 목록, 이름을 주면 버전 목록"},
    "endpoints": {"en": "served models", "ko": "서비스 중인 모델"},
    "profiles": {"en": "what can be picked, and what is free", "ko": "선택할 수 있는 프로필과 여유"},
    "entry": {"en": "train.py or train.py:function", "ko": "train.py 또는 train.py:함수"},
    "name": {"en": "a name; made from the file if not given", "ko": "이름. 없으면 파일 이름으로 만듦"},
    "profile": {"en": "what to run on", "ko": "실행할 프로필"},
    "processes": {"en": "number of ranks", "ko": "프로세스(rank) 수"},
    "experiment": {"en": "MLflow experiment", "ko": "MLflow 실험"},
    "parameter": {"en": "name=value, once for each", "ko": "이름=값, 여러 번 쓸 수 있음"},
    "file": {"en": "a file or folder to send along, once for each", "ko": "함께 보낼 파일이나 폴더"},
    "team": {"en": "the team that pays", "ko": "비용을 내는 팀"},
    "project": {"en": "the project in that team", "ko": "그 팀의 프로젝트"},
    "wait": {"en": "follow the log until it ends", "ko": "끝날 때까지 로그를 따라감"},
    "follow": {"en": "go on until the job ends", "ko": "작업이 끝날 때까지 계속"},
    "stop": {"en": "stop it", "ko": "중지"},
    "lease": {
        "en": "the log of what a lease ran, also after its end",
        "ko": "임대(lease)가 실행한 것의 로그. 끝난 뒤에도 볼 수 있음",
    },
    "of_team": {"en": "those charged to this team, for its leads", "ko": "이 팀이 비용을 내는 작업(팀 리드용)"},
    "owner": {"en": "with --stop: somebody else's", "ko": "--stop과 함께: 다른 사람의 작업"},
    "reason": {"en": "with --stop: what its owner reads", "ko": "--stop과 함께: 소유자에게 보여 줄 이유"},
}
WITH_STOP = {"en": "it goes with --stop", "ko": "--stop과 함께 씁니다"}


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    from dure import (
        audit_commands,
        cost_commands,
        device_commands,
        env_commands,
        gpu_commands,
        key_commands,
        notice_commands,
        organisation_commands,
        schedule_commands,
        server_commands,
        share_commands,
    )

    server_commands.register(subparsers)
    schedule_commands.register(subparsers)
    gpu_commands.register(subparsers)
    device_commands.register(subparsers)
    env_commands.register(subparsers)
    cost_commands.register(subparsers)
    share_commands.register(subparsers)
    audit_commands.register(subparsers)
    organisation_commands.register(subparsers)
    key_commands.register(subparsers)
    notice_commands.register(subparsers)
    train = _add(subparsers, "train", _train)
    train.add_argument("entry", help=_help("entry"))
    train.add_argument("--name", help=_help("name"))
    train.add_argument("--profile", default="cpu", help=_help("profile"))
    train.add_argument("--processes", type=int, help=_help("processes"))
    train.add_argument("--experiment", default="default", help=_help("experiment"))
    train.add_argument("-p", "--parameter", action="append", default=[], help=_help("parameter"))
    train.add_argument("-f", "--file", action="append", default=[], help=_help("file"))
    train.add_argument("--team", help=_help("team"))
    train.add_argument("--project", help=_help("project"))
    train.add_argument("--wait", action="store_true", help=_help("wait"))
    jobs = _add(subparsers, "jobs", _jobs)
    jobs.add_argument("name", nargs="?")
    jobs.add_argument("--stop", action="store_true", help=_help("stop"))
    jobs.add_argument("--team", help=_help("of_team"))
    jobs.add_argument("--owner", help=_help("owner"))
    jobs.add_argument("--reason", help=_help("reason"))
    logs = _add(subparsers, "logs", _logs)
    logs.add_argument("name", nargs="?")
    logs.add_argument("--lease", metavar="ID", help=_help("lease"))
    logs.add_argument("--follow", action="store_true", help=_help("follow"))
    _add(subparsers, "models", _models).add_argument("name", nargs="?")
    _add(subparsers, "endpoints", _endpoints)
    _add(subparsers, "profiles", _profiles)


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def parameter(text: str) -> tuple[str, Any]:
    """`epochs=3` as a name and a value: a number, true, false or null where it reads as one, else a text."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise BadRequest(field="--parameter", value=text, rule="it has the form name=value")
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    return name, value if isinstance(read, dict | list) else read


def _train(arguments: argparse.Namespace) -> int:
    from dure.training import train

    job = train(
        arguments.entry,
        name=arguments.name,
        profile=arguments.profile,
        processes=arguments.processes,
        parameters=dict(parameter(text) for text in arguments.parameter),
        experiment=arguments.experiment,
        files=arguments.file,
        team=arguments.team,
        project=arguments.project,
    )
    write(f"{job.name}\n")
    if arguments.wait:
        job.wait(logs=True)
    return 0


def _jobs(arguments: argparse.Namespace) -> int:
    from dure import training

    if arguments.name is None:
        write(f"{training.jobs(arguments.team)!r}\n")
        return 0
    if arguments.owner is not None:  # others' logs and values are not ours to read: there is only their end
        if not arguments.stop:
            raise BadRequest(field="--owner", value=arguments.owner, rule=WITH_STOP)
        training.stop(arguments.name, arguments.owner, arguments.reason)
        return 0
    job = training.job(arguments.name)
    if arguments.stop:
        job.stop()
    write(f"{job!r}\n")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    if (arguments.name is None) == (arguments.lease is None) or (arguments.lease and arguments.follow):
        rule = {
            "en": "it names a job, or a lease by --lease without --follow",
            "ko": "작업 이름을 쓰거나, --follow 없이 --lease로 임대를 지정해야 합니다",
        }
        raise BadRequest(field="logs", value=str(arguments.name or arguments.lease or ""), rule=rule)
    if arguments.lease is not None:
        from dure.devices import lease_log

        for piece in lease_log(arguments.lease):
            write(piece)
        return 0
    from dure.training import job

    if arguments.follow:
        job(arguments.name).logs(follow=True)
    else:
        write(job(arguments.name).logs())
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from dure import models

    write(f"{models.list() if arguments.name is None else models.versions(arguments.name)!r}\n")
    return 0


def _endpoints(_arguments: argparse.Namespace) -> int:
    from dure import endpoints

    write(f"{endpoints.list()!r}\n")
    return 0


def _profiles(_arguments: argparse.Namespace) -> int:
    from dure.account import profiles

    write(f"{profiles()!r}\n")
    return 0
