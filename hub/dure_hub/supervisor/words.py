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
    "options_idle": {
        "en": "Options of `kubespawner` without effect, since the portal decides this itself: {names}.",
        "ko": "포털이 직접 정하므로 효과가 없는 `kubespawner` 옵션: {names}.",
    },
    "leftovers": {
        "en": "Ending what an earlier run left behind ...",
        "ko": "이전 실행에서 남은 프로세스를 정리하는 중 ...",
    },
    "migrating": {
        "en": "Bringing the databases up to date (a copy goes to {backup}) ...",
        "ko": "데이터베이스를 갱신하는 중(사본은 {backup}에 있습니다) ...",
    },
    "migrating_one": {
        "en": "  {database} ...",
        "ko": "  {database} ...",
    },
    "copying": {
        "en": "Copying the databases ({size} MiB) ...",
        "ko": "데이터베이스를 복사하는 중({size} MiB) ...",
    },
    "progress": {
        "en": "  {done} of about {total} MiB ...",
        "ko": "  약 {total} MiB 중 {done} MiB ...",
    },
    "backup_done": {
        "en": "Wrote {file} ({size} MiB): {people} people, {waiting} waiting, {leases} leases, "
        "{schedules} schedules, {endpoints} endpoints, {models} models.",
        "ko": "{file} 백업 완료({size} MiB): 사용자 {people}명, 대기 {waiting}건, 임대 {leases}건, "
        "스케줄 {schedules}개, 엔드포인트 {endpoints}개, 모델 {models}개.",
    },
    "backup_without_homes": {
        "en": "People's folders are not in it.",
        "ko": "사용자 폴더는 포함되지 않았습니다.",
    },
    "backup_changed": {
        "en": "{count} file(s) were written to while they were read, and may be half old, half new: {names}",
        "ko": "읽는 동안 바뀐 파일 {count}개는 내용이 섞였을 수 있습니다: {names}",
    },
    "backup_left_out": {
        "en": "{count} file(s) or folder(s) could not be read and are not in it: {names}",
        "ko": "읽을 수 없어 제외된 파일 또는 폴더 {count}개: {names}",
    },
    "backup_secret": {
        "en": "It holds the portal's secrets and people's work: whoever can read {file} can act as anybody. Its "
        "mode is 600; keep it so wherever you put it.",
        "ko": "포털의 비밀값과 사용자의 작업이 들어 있습니다. {file}을(를) 읽을 수 있으면 누구의 권한이든 쓸 수 "
        "있습니다. 파일 권한은 600입니다. 옮긴 곳에서도 그대로 유지하세요.",
    },
    "restore_done": {
        "en": "Restored {folder} as it was at {made_at} on {machine} (Dure {program}): {people} people, {waiting} "
        "waiting, {leases} leases, {schedules} schedules, {endpoints} endpoints, {models} models.",
        "ko": "{machine}의 {made_at} 상태(Dure {program})로 {folder}을(를) 복원했습니다: 사용자 {people}명, 대기 "
        "{waiting}건, 임대 {leases}건, 스케줄 {schedules}개, 엔드포인트 {endpoints}개, 모델 {models}개.",
    },
    "restore_finished": {
        "en": "A restore had been interrupted after everything was unpacked: it was carried on, and {folder} is "
        "what it restored.",
        "ko": "압축을 모두 푼 뒤 중단된 복원을 마저 끝냈습니다. {folder}은(는) 복원된 폴더입니다.",
    },
    "restore_aside": {
        "en": "What was there before is now: {place}",
        "ko": "이전에 있던 것의 새 위치: {place}",
    },
    "restore_without_homes": {
        "en": "The backup was made without people's folders; theirs will be empty.",
        "ko": "사용자 폴더 없이 만든 백업이므로 사용자 폴더는 비어 있습니다.",
    },
    "restore_older": {
        "en": "It comes from an older version: `{dure} up` upgrades it, after a copy.",
        "ko": "이전 버전의 백업입니다. `{dure} up`이 사본을 만든 뒤 업그레이드합니다.",
    },
    "restore_next": {
        "en": "Start it: {dure} up\nIf the portal of {machine} still runs, end that first: both would run the "
        "same schedules and take the same tokens.",
        "ko": "시작: {dure} up\n{machine}의 포털이 아직 실행 중이면 먼저 종료하세요. 둘 다 같은 스케줄을 "
        "실행하고 같은 토큰을 받습니다.",
    },
    "waiting": {
        "en": "Starting {services} ... ({seconds} s)",
        "ko": "{services} 시작 중 ... ({seconds}초)",
    },
    "prepared": {
        "en": "{folder} is ready for the portal's services.",
        "ko": "{folder}이(가) 준비되었습니다. 포털 서비스를 시작할 수 있습니다.",
    },
    "ready": {
        "en": "The portal is up:  {url}",
        "ko": "포털이 준비되었습니다:  {url}",
    },
    "ssh": {
        "en": "From another computer:  {command}   and then open {url}",
        "ko": "다른 컴퓨터에서는:  {command}   실행 후 {url} 을(를) 여세요",
    },
    "elsewhere": {
        "en": "From another computer:  {url}",
        "ko": "다른 컴퓨터에서는:  {url}",
    },
    "readable": {
        "en": "Passwords are readable on the way to {host}:{port}, which speaks plain http: let nobody but a "
        "proxy of yours that does TLS reach it.",
        "ko": "{host}:{port}은(는) 일반 http라서 도중에 비밀번호를 읽을 수 있습니다. TLS를 처리하는 프록시만 "
        "접속하게 하세요.",
    },
    "certificate_ends": {
        "en": "The certificate ends on {ends}, in {days} days. A renewed one is served without a restart.",
        "ko": "인증서가 {ends}에 만료됩니다({days}일 남음). 갱신하면 재시작 없이 바로 쓰입니다.",
    },
    "certificate_ended": {
        "en": "The certificate ended on {ends}: browsers warn of it. A renewed one is served without a restart.",
        "ko": "인증서가 {ends}에 만료되어 브라우저가 경고합니다. 갱신하면 재시작 없이 바로 쓰입니다.",
    },
    "certificate_not_begun": {
        "en": "The certificate begins on {begins} only: browsers warn of it until then.",
        "ko": "인증서가 {begins}부터 유효하므로 그때까지 브라우저가 경고합니다.",
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
