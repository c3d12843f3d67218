"""What is told while the disk is nearly full."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class NoRoomOnDisk(DureError):
    """Nothing new starts while there is so little room; what runs goes on, and can be stopped."""

    code, status = "disk_low", 507
    message: ClassVar[Text] = {
        "en": "The portal's disk ({place}) has {free_percent} % ({free_mb} MiB) free. Nothing new starts below "
        "{percent} % or {minimum_mb} MiB. Largest: {largest}.",
        "ko": "포털 디스크({place})의 남은 공간이 {free_percent} %({free_mb} MiB)입니다. {percent} % 또는 "
        "{minimum_mb} MiB 아래에서는 새로 시작하지 않습니다. 큰 폴더: {largest}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Delete large files you no longer need (`dure disk` shows how much is yours), or ask an "
        "administrator. Nothing was started; what runs goes on.",
        "ko": "필요 없는 큰 파일을 지우거나(`dure disk`로 내 사용량 확인) 관리자에게 요청하세요. "
        "시작된 것은 없고 실행 중인 것은 계속됩니다.",
    }
