"""What can keep a backup or a restore from being made."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text

_UNCHANGED_EN, _UNCHANGED_KO = "Nothing was changed.", "변경된 것은 없습니다."


class FileThere(DureError):
    """A backup never overwrites one."""

    code, status = "file_there", 409
    message: ClassVar[Text] = {"en": "There is a file {file} already.", "ko": "{file} 파일이 이미 있습니다."}
    next_step: ClassVar[Text] = {
        "en": "Choose another name, with the date in it for example, or remove that file first.",
        "ko": "날짜를 넣는 등 다른 이름을 쓰거나 그 파일을 먼저 지우세요.",
    }


class BadPlace(DureError):
    """Where the backup, or what is restored, cannot be."""

    code, status = "bad_place", 422
    message: ClassVar[Text] = {
        "en": "{place} cannot be used: {reason}.",
        "ko": "{place}을(를) 쓸 수 없습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": f"Choose another place. {_UNCHANGED_EN}",
        "ko": f"다른 위치를 지정하세요. {_UNCHANGED_KO}",
    }


class NoRoom(DureError):
    """Known before anything was written, or found out while it was."""

    code, status = "no_room", 507
    message: ClassVar[Text] = {
        "en": "There is not enough free disk at {place}: up to {needed_mb} MiB are needed, {free_mb} MiB free.",
        "ko": "{place}의 디스크가 부족합니다. 최대 {needed_mb} MiB가 필요하고 {free_mb} MiB가 남아 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": f"Free some space or choose another disk. {_UNCHANGED_EN}",
        "ko": f"공간을 확보하거나 다른 디스크를 쓰세요. {_UNCHANGED_KO}",
    }


class BackupFailed(DureError):
    """It did not go through; what had been written is removed."""

    code, status = "backup_failed", 500
    message: ClassVar[Text] = {
        "en": "The backup {file} could not be written: {reason}.",
        "ko": "백업 {file}을(를) 쓰지 못했습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct what the reason says and try again. The portal and earlier backups are as they were.",
        "ko": "원인을 고친 뒤 다시 시도하세요. 포털과 이전 백업은 그대로입니다.",
    }


class RestoreFailed(DureError):
    """It did not go through; what had been unpacked is removed."""

    code, status = "restore_failed", 500
    message: ClassVar[Text] = {
        "en": "The backup {file} could not be restored: {reason}.",
        "ko": "백업 {file}을(를) 복원하지 못했습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct what the reason says and try again. What was there before is as it was.",
        "ko": "원인을 고친 뒤 다시 시도하세요. 이전에 있던 것은 그대로입니다.",
    }


class ArchiveDamaged(DureError):
    """Cut, changed, or no backup at all."""

    code, status = "archive_damaged", 422
    message: ClassVar[Text] = {
        "en": "{file} is no whole backup of a portal: {reason}.",
        "ko": "{file}은(는) 온전한 포털 백업이 아닙니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": f"Copy it once more from where it was made, or use another backup. {_UNCHANGED_EN}",
        "ko": f"원본에서 다시 복사하거나 다른 백업을 쓰세요. {_UNCHANGED_KO}",
    }


class ArchiveNewer(DureError):
    """A newer program's format."""

    code, status = "archive_newer", 409
    message: ClassVar[Text] = {
        "en": "{file} was made by Dure {by} in a form ({found}) that this version ({program}) does not know.",
        "ko": "{file}은(는) Dure {by}이(가) 만든 형식({found})이며 현재 버전({program})은 이를 모릅니다.",
    }
    next_step: ClassVar[Text] = {
        "en": f"Use that newer version. {_UNCHANGED_EN}",
        "ko": f"더 새로운 버전을 사용하세요. {_UNCHANGED_KO}",
    }


class FolderInUse(DureError):
    """A restore makes a folder; it never mixes with one."""

    code, status = "folder_in_use", 409
    message: ClassVar[Text] = {"en": "{folder} is not empty.", "ko": "{folder}이(가) 비어 있지 않습니다."}
    next_step: ClassVar[Text] = {
        "en": f"Name another one (--data), or have it moved aside: dure restore FILE --replace. {_UNCHANGED_EN}",
        "ko": f"다른 폴더(--data)를 지정하거나 옆으로 옮기세요: dure restore 파일 --replace. {_UNCHANGED_KO}",
    }


class DatabaseInUse(DureError):
    """The same for a PostgreSQL database."""

    code, status = "database_in_use", 409
    message: ClassVar[Text] = {
        "en": "The PostgreSQL database that the settings name has tables already.",
        "ko": "설정이 가리키는 PostgreSQL 데이터베이스에 이미 테이블이 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name an empty one in DURE_DATABASE_URL, or have its tables moved into a schema of another name: "
        f"dure restore FILE --replace. {_UNCHANGED_EN}",
        "ko": "DURE_DATABASE_URL에 빈 데이터베이스를 지정하거나 기존 테이블을 다른 이름의 스키마로 옮기세요: "
        f"dure restore 파일 --replace. {_UNCHANGED_KO}",
    }


class OtherDatabase(DureError):
    """SQLite is restored as SQLite, PostgreSQL as PostgreSQL."""

    code, status = "other_database", 409
    message: ClassVar[Text] = {
        "en": "The backup holds the portal's database as {there}, and the settings want {wanted}.",
        "ko": "백업의 포털 데이터베이스는 {there}이고 설정은 {wanted}을(를) 요구합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": f"Set `database_url` (DURE_DATABASE_URL) to the same kind. {_UNCHANGED_EN}",
        "ko": f"`database_url`(DURE_DATABASE_URL)을 같은 종류로 지정하세요. {_UNCHANGED_KO}",
    }
