"""What keeps an old hub from being read, or brought over."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class NoSuchHub(DureError):
    """The source cannot be read."""

    code, status = "no_such_hub", 422
    message: ClassVar[Text] = {
        "en": "The old hub cannot be read from {source}: {why}.",
        "ko": "{source}에서 이전 허브를 읽을 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name its jupyterhub.sqlite, its database's address, or its own with http. Nothing was changed.",
        "ko": "jupyterhub.sqlite 파일, 데이터베이스 주소, 또는 허브의 http 주소를 쓰세요. 바뀐 것은 없습니다.",
    }


class StrangeHub(DureError):
    """It is read, and is not a JupyterHub of a known version."""

    code, status = "strange_hub", 422
    message: ClassVar[Text] = {
        "en": "{source} is no JupyterHub of version 2 to 6: {why}.",
        "ko": "{source}은(는) JupyterHub 2~6 버전이 아닙니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Upgrade a copy of the old hub's database with `jupyterhub upgrade-db` first. Nothing was changed.",
        "ko": "먼저 이전 허브 데이터베이스의 사본을 `jupyterhub upgrade-db`로 올리세요. 바뀐 것은 없습니다.",
    }


class NoSecret(DureError):
    """A token or password is needed, and may not be on the command line."""

    code, status = "no_secret", 422
    message: ClassVar[Text] = {"en": "{what}: {why}.", "ko": "{what}: {why}."}
    next_step: ClassVar[Text] = {
        "en": "Put it into a file of mode 600 for --secret-file, or into DURE_IMPORT_SECRET.",
        "ko": "권한 600인 파일을 --secret-file로 주거나 DURE_IMPORT_SECRET에 넣으세요. 명령줄에는 쓰지 마세요.",
    }


class BadPattern(DureError):
    """Where homes are, or what a volume list holds, cannot be used."""

    code, status = "bad_pattern", 422
    message: ClassVar[Text] = {
        "en": "{option} {value} cannot be used: {why}.",
        "ko": "{option} {value}을(를) 쓸 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "For homes, an absolute path with {{username}} in it; for volumes, `kubectl get pvc -o json`.",
        "ko": "홈은 {{username}}이 든 절대 경로, 볼륨은 `kubectl get pvc -o json`의 출력입니다.",
    }


class PortalIsUp(DureError):
    """The hub's tables are written, so no hub may run on them."""

    code, status = "portal_is_up", 409
    message: ClassVar[Text] = {
        "en": "The portal is up; people are brought over while it is down.",
        "ko": "포털이 실행 중입니다. 가져오기는 포털을 내린 상태에서 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "`dure down`, then this command again, then `dure up`. --dry-run works at any time.",
        "ko": "`dure down` 후 다시 실행하고 `dure up` 하세요. --dry-run은 언제든 쓸 수 있습니다.",
    }


class NoHubYet(DureError):
    """The hub has not run here yet, so its tables are not there."""

    code, status = "no_hub_yet", 409
    message: ClassVar[Text] = {
        "en": "The portal of this folder was never up, so there is nothing to bring people into.",
        "ko": "이 폴더의 포털이 한 번도 실행된 적이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "`dure up`, `dure down`, then again.",
        "ko": "`dure up`, `dure down` 후 다시 하세요.",
    }


class NoRoom(DureError):
    """The homes would fill the disk."""

    code, status = "no_room", 507
    message: ClassVar[Text] = {
        "en": "The homes need {needed_mb} MB, and {free_mb} MB are free beyond what must stay so.",
        "ko": "홈에 {needed_mb} MB가 필요한데 여유는 {free_mb} MB입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Make room, or bring over some at a time with --only. Nothing was copied.",
        "ko": "공간을 늘리거나 --only로 나누어 가져오세요. 복사한 것은 없습니다.",
    }


class HomeFailed(DureError):
    """One person's home could not be copied whole."""

    code, status = "home_failed", 500
    message: ClassVar[Text] = {
        "en": "The home of {name} could not be copied whole: {why}.",
        "ko": "{name}의 홈을 끝까지 복사하지 못했습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "This person was not brought over; run the command again, and it goes on from there.",
        "ko": "이 사람은 아직 옮겨지지 않았습니다. 다시 실행하면 이어서 복사합니다.",
    }
