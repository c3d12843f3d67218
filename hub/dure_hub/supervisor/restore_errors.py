"""What can be wrong where a restore was killed between its renames."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class RestoreUnknown(DureError):
    """Only that database can say whether it has taken the restore."""

    code, status = "restore_unknown", 503
    message: ClassVar[Text] = {
        "en": "A restore into the database {address} was interrupted, and whether that database took it is not "
        "known: {reason}.",
        "ko": "데이터베이스 {address}(으)로 복원하던 중 중단되었고, "
        "데이터베이스에 반영되었는지 알 수 없습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Let it answer, and try again; it may still be at work. To give that restore up for good, remove "
        "{record}. Nothing was changed.",
        "ko": "데이터베이스가 응답하게 한 뒤 다시 시도하세요. 아직 작업 중일 수 있습니다. "
        "그 복원을 완전히 포기하려면 {record}을(를) 지우세요. 변경된 것은 없습니다.",
    }


class RestoreIncomplete(DureError):
    """A part of what was unpacked is nowhere, as on a disk that is not there yet."""

    code, status = "restore_incomplete", 503
    message: ClassVar[Text] = {
        "en": "A restore was interrupted, and what it unpacked for {place} is not there.",
        "ko": "복원이 중단되었는데 {place}에 놓을 복원 데이터가 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Mount the disk on which {place} lies, and try again. To give that restore up for good, remove "
        "{record}. Nothing was changed.",
        "ko": "{place}이(가) 있는 디스크를 마운트한 뒤 다시 시도하세요. "
        "그 복원을 완전히 포기하려면 {record}을(를) 지우세요. 변경된 것은 없습니다.",
    }


class RestoreInterrupted(DureError):
    """What is there now may be a part of the old and a part of the new."""

    code, status = "restore_interrupted", 409
    message: ClassVar[Text] = {
        "en": "A restore into {folder} was interrupted, and is not carried on yet.",
        "ko": "{folder}(으)로 복원하던 중 중단되었고, 아직 마무리되지 않았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run `dure up`, or `dure restore` again: either carries it on first. Nothing was changed.",
        "ko": "`dure up`을 실행하거나 `dure restore`를 다시 실행하면 먼저 마무리합니다. 변경된 것은 없습니다.",
    }
