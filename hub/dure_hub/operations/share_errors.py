"""What can be wrong with a share, in the words of who asked for it."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class SharingOff(DureError):
    """People's pages have one origin here, so a page of the one could act as the other who opens it."""

    code, status = "sharing_off", 409
    message: ClassVar[Text] = {
        "en": "Servers cannot be shared here: all of them have one address, so a page of the owner's could act in "
        "the name of everybody who opens it.",
        "ko": "이 포털에서는 서버를 공유할 수 없습니다. 모든 서버의 주소가 같아서, "
        "소유자의 페이지가 그것을 연 사람의 이름으로 동작할 수 있기 때문입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Share a copy of a notebook instead. An administrator can give each person a host of their own by "
        "`subdomain_host`.",
        "ko": "대신 노트북 사본을 공유하세요. 관리자가 `subdomain_host`를 설정하면 사람마다 주소가 따로 생깁니다.",
    }


class ShareNotRunning(DureError):
    """A server that does not run."""

    code, status = "share_not_running", 409
    message: ClassVar[Text] = {
        "en": "The server {name} is {phase}; only one that runs can be shared.",
        "ko": "서버 {name}의 상태: {phase}. 실행 중인 서버만 공유할 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start it, and share it then. Nothing was shared.",
        "ko": "서버를 시작한 뒤 공유하세요. 공유된 것은 없습니다.",
    }


class ShareUnguarded(DureError):
    """A server that was not seen to close what a guest has open."""

    code, status = "share_unguarded", 409
    message: ClassVar[Text] = {
        "en": "The server {name} cannot be shared: what closes a colleague's open pages once you let them in no "
        "more does not answer there. Images other than the portal's own lack it.",
        "ko": "서버 {name}은(는) 공유할 수 없습니다. 공유를 끝내는 순간 동료가 열어 둔 연결을 닫는 기능이 "
        "이 서버에서 응답하지 않습니다. 포털의 기본 이미지가 아닌 이미지에는 이 기능이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start it with the portal's own image and share it then, or share a copy of a notebook. "
        "Nothing was shared.",
        "ko": "포털의 기본 이미지로 서버를 시작한 뒤 공유하거나, 노트북 사본을 공유하세요. 공유된 것은 없습니다.",
    }


class NoSuchPerson(DureError):
    """A colleague who has no account, or one that is disabled."""

    code, status = "no_such_person", 422
    message: ClassVar[Text] = {
        "en": "Nobody named {person} can log in here.",
        "ko": "이름이 {person}인 사용자는 여기에 로그인할 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Write the name they log in with. Nothing was shared.",
        "ko": "그 사람이 로그인할 때 쓰는 이름을 적으세요. 공유된 것은 없습니다.",
    }


class NotebookNotThere(DureError):
    """Nothing at this path that may be shared."""

    code, status = "notebook_not_there", 422
    message: ClassVar[Text] = {
        "en": "{path} is no notebook in your folder that can be shared: a plain file of at most {limit_mb} MiB, "
        "on a path without links.",
        "ko": "{path}은(는) 공유할 수 있는 노트북이 아닙니다. 내 폴더 안의 일반 파일이고, "
        "{limit_mb} MiB 이하이며, 경로에 링크가 없어야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Write the path as JupyterLab's file browser shows it, such as work/report.ipynb. "
        "Nothing was shared.",
        "ko": "JupyterLab 파일 목록에 보이는 경로를 쓰세요. 예: work/report.ipynb. 공유된 것은 없습니다.",
    }


class TooManyShares(DureError):
    """Copies take room."""

    code, status = "too_many_shares", 409
    message: ClassVar[Text] = {
        "en": "You share {limit} notebooks already.",
        "ko": "이미 노트북 {limit}개를 공유하고 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "End a share that is not needed any more.",
        "ko": "더 필요하지 않은 공유를 끝내세요.",
    }
