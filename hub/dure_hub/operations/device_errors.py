"""What an administrator is told who asks for what cannot be with a GPU."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class TooLittleNotice(DureError):
    """Who holds a GPU is told ten minutes before it is taken."""

    code, status = "too_little_notice", 422
    message: ClassVar[Text] = {
        "en": "A drain until {asked} leaves who holds this GPU less than ten minutes; the earliest is {earliest}.",
        "ko": "{asked}까지 비우면 사용 중인 사람에게 10분의 여유도 없습니다. 가장 이른 시각은 {earliest}입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name a later time, or say `--now` with a message. Nothing was changed.",
        "ko": "더 늦은 시각을 쓰거나 메시지와 함께 `--now`를 지정하세요. 바뀐 것은 없습니다.",
    }


class SayWhy(DureError):
    """Without notice, who holds the GPU is told why."""

    code, status = "say_why", 422
    message: ClassVar[Text] = {
        "en": "A drain without notice needs a message: who holds the GPU reads it.",
        "ko": "예고 없이 비우려면 메시지가 필요합니다. 사용 중인 사람이 읽습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Say why with `--message`. Nothing was changed.",
        "ko": "`--message`로 이유를 쓰세요. 바뀐 것은 없습니다.",
    }


class DeviceDrains(DureError):
    """A server's end cannot be moved beyond the time by which its GPU is to be clear."""

    code, status = "device_drains", 409
    message: ClassVar[Text] = {
        "en": "The GPU of this is being cleared for maintenance by {until}, so its end cannot be later.",
        "ko": "점검을 위해 이 GPU를 {until}까지 비우므로 종료를 더 늦출 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start another server: it gets another GPU.",
        "ko": "서버를 새로 시작하면 다른 GPU를 받습니다.",
    }
