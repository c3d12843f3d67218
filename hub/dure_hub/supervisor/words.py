"""The lines that `up` and `down` print, in English and Korean."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from dure.errors import Text, fill

LINES: dict[str, Text] = {
    "made": {
        "en": "Made the data folder {folder}.",
        "ko": "데이터 폴더 {folder}을(를) 만들었습니다.",
    },
    "leftovers": {
        "en": "Ending what an earlier run left behind ...",
        "ko": "이전 실행에서 남은 프로세스를 정리하는 중 ...",
    },
    "migrating": {
        "en": "Bringing the databases up to date (a copy goes to {backup}) ...",
        "ko": "데이터베이스를 갱신하는 중(사본은 {backup}에 있습니다) ...",
    },
    "waiting": {
        "en": "Starting {services} ... ({seconds} s)",
        "ko": "{services} 시작 중 ... ({seconds}초)",
    },
    "ready": {
        "en": "The portal is up:  {url}",
        "ko": "포털이 준비되었습니다:  {url}",
    },
    "ssh": {
        "en": "From another computer:  {command}   and then open http://127.0.0.1:{port}",
        "ko": "다른 컴퓨터에서는:  {command}   실행 후 http://127.0.0.1:{port} 을(를) 여세요",
    },
    "admin": {
        "en": "Administrator:  {name}\nPassword:       {password}\n"
        "This password is shown once. Forgotten: {dure} user reset {name}",
        "ko": "관리자:    {name}\n비밀번호:  {password}\n"
        "이 비밀번호는 한 번만 표시됩니다. 잊었다면: {dure} user reset {name}",
    },
    "foreground": {
        "en": "Ctrl-C ends it. Logs: {dure} portal-logs",
        "ko": "Ctrl-C로 종료합니다. 로그: {dure} portal-logs",
    },
    "detached": {
        "en": "It runs in the background. End it: {dure} down   Logs: {dure} portal-logs",
        "ko": "백그라운드에서 실행됩니다. 종료: {dure} down   로그: {dure} portal-logs",
    },
    "trusting": {
        "en": "Everyone's servers run as the operating-system user {user}: for one team that trusts each other.",
        "ko": "모든 서버가 운영체제 사용자 {user}(으)로 실행됩니다. 서로 신뢰하는 한 팀에 적합합니다.",
    },
    "closing": {
        "en": "Stopping: no new work is taken ...",
        "ko": "종료 중: 새 작업을 받지 않습니다 ...",
    },
    "closing_jobs": {
        "en": "Stopping {count} training job(s); each has {seconds} s to write a checkpoint ...",
        "ko": "학습 작업 {count}개를 종료하는 중. 체크포인트를 쓸 시간은 {seconds}초입니다 ...",
    },
    "closing_executions": {
        "en": "Stopping {count} scheduled notebook(s) ...",
        "ko": "예약 실행 중인 노트북 {count}개를 종료하는 중 ...",
    },
    "closing_saving": {
        "en": "Letting {count} server(s) save, for {seconds} seconds at most ...",
        "ko": "서버 {count}개가 저장하기를 최대 {seconds}초 동안 기다리는 중 ...",
    },
    "closing_servers": {
        "en": "Stopping {count} server(s) ...",
        "ko": "서버 {count}개를 종료하는 중 ...",
    },
    "closing_models": {
        "en": "Stopping {count} model server(s) ...",
        "ko": "모델 서버 {count}개를 종료하는 중 ...",
    },
    "trouble": {
        "en": "Trouble with {what}; the rest is stopped all the same: {why}",
        "ko": "{what} 종료 중 문제가 생겼지만 나머지는 계속 종료합니다: {why}",
    },
    "hurry": {
        "en": "Ending everything now.",
        "ko": "즉시 모두 종료합니다.",
    },
    "down": {
        "en": "The portal is down; nothing of it runs any more.",
        "ko": "포털이 종료되었습니다. 남은 프로세스가 없습니다.",
    },
    "not_running": {
        "en": "The portal of {folder} is not running.",
        "ko": "{folder}의 포털이 실행 중이 아닙니다.",
    },
}


def line(key: str, language: str, **facts: object) -> str:
    """One line in the reader's language."""
    return fill(LINES[key], language, {"dure": typed(), **facts})


def typed() -> str:
    """The `dure` command as the reader can type it: by its path, where the shell would not find it."""
    if shutil.which("dure"):
        return "dure"
    beside = Path(sys.executable).with_name("dure")
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the folder it was started in is gone
        return str(beside)
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
