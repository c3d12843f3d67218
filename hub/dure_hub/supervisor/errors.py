"""What can keep the portal from coming up, in words that say what to do."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class PythonTooOld(DureError):
    """This Python is older than the portal needs."""

    code, status = "python_too_old", 500
    message: ClassVar[Text] = {
        "en": "This is Python {found}; the portal needs {needed} or newer.",
        "ko": "현재 Python {found}입니다. 포털에는 {needed} 이상이 필요합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name a newer one: make up PYTHON=python3.12",
        "ko": "더 새로운 버전을 지정하세요: make up PYTHON=python3.12",
    }


class PortTaken(DureError):
    """Somebody else listens on the front port."""

    code, status = "port_taken", 409
    message: ClassVar[Text] = {
        "en": "Port {port} on {host} is taken by {holder}.",
        "ko": "{host}의 {port}번 포트를 {holder}이(가) 사용 중입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "End that process, or choose another port: dure up --port {free}  (or DURE_PORT={free} make up)",
        "ko": "그 프로세스를 종료하거나 다른 포트를 쓰세요: "
        "dure up --port {free}  (또는 DURE_PORT={free} make up)",
    }


class AddressNotOurs(DureError):
    """The listening address cannot be bound at all."""

    code, status = "address_not_ours", 422
    message: ClassVar[Text] = {
        "en": "The portal cannot listen on {host}:{port}: {reason}.",
        "ko": "포털이 {host}:{port}에서 수신할 수 없습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Use --host 127.0.0.1, or an address of this machine; ports below 1024 need root.",
        "ko": "--host 127.0.0.1 또는 이 머신의 주소를 쓰세요. 1024 미만 포트는 root가 필요합니다.",
    }


class OpenToReaders(DureError):
    """Plain http at an address that others reach, and nobody said that this is meant."""

    code, status = "open_to_readers", 422
    message: ClassVar[Text] = {
        "en": "The portal does not listen on {host} by plain http: whoever is on the way reads every password.",
        "ko": "포털은 {host}에서 일반 http로 수신하지 않습니다. 도중에 있는 누구나 비밀번호를 읽을 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Leave `host` at 127.0.0.1 and come by `ssh -L {port}:127.0.0.1:{port}`; or set `tls_cert` and "
        "`tls_key` for https; or, behind a proxy that does TLS, say --insecure-http (`insecure_http: true`).",
        "ko": "`host`를 127.0.0.1로 두고 `ssh -L {port}:127.0.0.1:{port}`로 접속하거나, `tls_cert`와 `tls_key`를 "
        "설정해 https를 쓰거나, TLS를 처리하는 프록시 뒤라면 --insecure-http(`insecure_http: true`)를 지정하세요.",
    }


class DiskTooSmall(DureError):
    """Databases on a full disk are lost databases."""

    code, status = "disk_too_small", 507
    message: ClassVar[Text] = {
        "en": "{folder} has {free_mb} MiB of free disk; the portal wants {needed_mb} MiB.",
        "ko": "{folder}의 남은 디스크가 {free_mb} MiB입니다. 포털에는 {needed_mb} MiB가 필요합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Free some space, put the folder elsewhere (--data), or lower DURE_DISK_MINIMUM_MB.",
        "ko": "공간을 확보하거나 폴더를 옮기거나(--data) DURE_DISK_MINIMUM_MB를 낮추세요.",
    }


class NetworkFileSystem(DureError):
    """SQLite's locks do not hold on network file systems."""

    code, status = "network_file_system", 422
    message: ClassVar[Text] = {
        "en": "{folder} lies on a network file system ({kind}); databases break there.",
        "ko": "{folder}이(가) 네트워크 파일 시스템({kind})에 있습니다. 데이터베이스가 손상될 수 있습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Put the data folder on a disk of this machine: dure up --data /var/lib/dure",
        "ko": "데이터 폴더를 이 머신의 디스크에 두세요: dure up --data /var/lib/dure",
    }


class FolderNewer(DureError):
    """A newer portal wrote this data folder."""

    code, status = "folder_newer", 409
    message: ClassVar[Text] = {
        "en": "{folder} was written by a newer version of Dure ({found}; this one knows {known}).",
        "ko": "{folder}은(는) 더 새로운 Dure가 기록했습니다({found}, 현재 버전은 {known}까지 지원).",
    }
    next_step: ClassVar[Text] = {
        "en": "Use that newer version, or another folder (--data). Nothing was changed.",
        "ko": "더 새로운 버전을 쓰거나 다른 폴더(--data)를 쓰세요. 변경된 것은 없습니다.",
    }


class FolderUnusable(DureError):
    """The data folder cannot be made, read or written."""

    code, status = "folder_unusable", 422
    message: ClassVar[Text] = {
        "en": "The data folder {folder} cannot be used: {reason}.",
        "ko": "데이터 폴더 {folder}을(를) 사용할 수 없습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose a folder of yours: dure up --data ~/dure",
        "ko": "내 폴더를 지정하세요: dure up --data ~/dure",
    }


class PathTooLong(DureError):
    """The kernel takes Unix socket paths of 107 bytes at most."""

    code, status = "path_too_long", 422
    message: ClassVar[Text] = {
        "en": "The path of the data folder is too long for Unix sockets: {folder}.",
        "ko": "데이터 폴더 경로가 유닉스 소켓에 쓰기에는 너무 깁니다: {folder}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Choose one of at most {limit} bytes: dure up --data ~/dure",
        "ko": "{limit}바이트 이하의 경로를 지정하세요: dure up --data ~/dure",
    }


class AlreadyUp(DureError):
    """A second `up` on the same folder."""

    code, status = "already_up", 409
    message: ClassVar[Text] = {
        "en": "The portal of {folder} is already up at {url} (process {pid}).",
        "ko": "{folder}의 포털이 이미 {url}에서 실행 중입니다(프로세스 {pid}).",
    }
    next_step: ClassVar[Text] = {
        "en": "Open that address, or end it first: dure down",
        "ko": "그 주소를 열거나 먼저 종료하세요: dure down",
    }


class ServiceFailed(DureError):
    """A service did not become ready; the end of its log is in the facts."""

    code, status = "service_failed", 503
    message: ClassVar[Text] = {
        "en": "{service} did not start: {reason}. The end of {log}:\n{tail}",
        "ko": "{service}을(를) 시작하지 못했습니다: {reason}. {log}의 마지막 부분:\n{tail}",
    }
    next_step: ClassVar[Text] = {
        "en": "`dure doctor` checks this machine; `dure portal-logs {service}` shows the whole log. "
        "What had started was stopped again.",
        "ko": "`dure doctor`로 이 머신을 점검하고 `dure portal-logs {service}`로 전체 로그를 보세요. "
        "시작된 것은 다시 종료했습니다.",
    }


class NotUp(DureError):
    """The command needs a portal that was started at least once."""

    code, status = "not_up", 409
    message: ClassVar[Text] = {
        "en": "No portal has been started in {folder} yet.",
        "ko": "{folder}에서 아직 포털을 시작한 적이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start it: dure up  (another folder: --data, or DURE_DATA)",
        "ko": "시작하세요: dure up  (다른 폴더: --data 또는 DURE_DATA)",
    }


class StillRunning(DureError):
    """`down` could not end everything."""

    code, status = "still_running", 500
    message: ClassVar[Text] = {
        "en": "These processes did not end: {pids}.",
        "ko": "다음 프로세스가 종료되지 않았습니다: {pids}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run `dure down` again as the user who started them, or as root.",
        "ko": "시작한 사용자 또는 root로 `dure down`을 다시 실행하세요.",
    }


class BadSetting(DureError):
    """A value in dure.yaml, a variable or a flag breaks a rule."""

    code, status = "bad_setting", 422
    message: ClassVar[Text] = {
        "en": "The setting {name} cannot be {value}: {rule}.",
        "ko": "설정 {name}에 {value} 값은 사용할 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct it in dure.yaml, in the variable DURE_<NAME>, or on the command line.",
        "ko": "dure.yaml, 환경 변수 DURE_<NAME> 또는 명령줄에서 고치세요.",
    }


class NoSuchSetting(DureError):
    """A variable looks like a setting and is none: whoever wrote it believes that it counts."""

    code, status = "no_such_setting", 422
    message: ClassVar[Text] = {
        "en": "There is no setting for {names}.",
        "ko": "{names}에 해당하는 설정이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct or remove it; most like it: {nearest}. docs/settings.md lists all.",
        "ko": "고치거나 지우세요. 가장 비슷한 설정: {nearest}. docs/settings.md에 모두 있습니다.",
    }


class DatabaseAway(DureError):
    """The database that the settings name does not answer, or not to us."""

    code, status = "database_away", 503
    message: ClassVar[Text] = {
        "en": "The portal's database {address} cannot be opened: {reason}.",
        "ko": "포털의 데이터베이스 {address}을(를) 열 수 없습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Start that PostgreSQL server, or correct `database_url` and `database_password_file`; "
        "an empty `database_url` is SQLite in the data folder. Nothing was changed.",
        "ko": "그 PostgreSQL 서버를 시작하거나 `database_url`과 `database_password_file`을 고치세요. "
        "`database_url`을 비우면 데이터 폴더의 SQLite를 씁니다. 변경된 것은 없습니다.",
    }


class DatabaseNewer(DureError):
    """A newer program has migrated one of the databases."""

    code, status = "database_newer", 409
    message: ClassVar[Text] = {
        "en": "{place} was written by a newer version of Dure ({by}; this one is {program}): the {database} "
        "database has revision {found}, and this version knows those up to {known}.",
        "ko": "{place}은(는) 더 새로운 Dure({by}, 현재 버전은 {program})가 기록했습니다. {database} "
        "데이터베이스의 리비전은 {found}이고 이 버전은 {known}까지 지원합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Use that newer version. Nothing was changed.",
        "ko": "더 새로운 버전을 사용하세요. 변경된 것은 없습니다.",
    }


class UpgradeFailed(DureError):
    """A migration did not go through."""

    code, status = "upgrade_failed", 500
    message: ClassVar[Text] = {
        "en": "The databases in {folder} could not be upgraded: {reason}. They are as they were before.",
        "ko": "{folder}의 데이터베이스를 업그레이드하지 못했습니다: {reason}. 데이터베이스는 이전 그대로입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Go on with the version used so far, or correct what the reason says and run `dure upgrade` again.",
        "ko": "지금까지 쓰던 버전을 계속 쓰거나, 원인을 고친 뒤 `dure upgrade`를 다시 실행하세요.",
    }


class SomebodyElseWorks(DureError):
    """Two at once would undo each other's work."""

    code, status = "somebody_else_works", 409
    message: ClassVar[Text] = {
        "en": "Another process is making {place} just now.",
        "ko": "다른 프로세스가 {place}을(를) 만드는 중입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait until it has ended and try again. Nothing was changed.",
        "ko": "끝난 뒤에 다시 시도하세요. 변경된 것은 없습니다.",
    }


class NotDown(DureError):
    """What a killed supervisor has left behind still runs."""

    code, status = "not_down", 409
    message: ClassVar[Text] = {
        "en": "Processes of the portal of {folder} still run: {pids}.",
        "ko": "{folder}의 포털 프로세스가 아직 실행 중입니다: {pids}.",
    }
    next_step: ClassVar[Text] = {
        "en": "End it first: dure down. Nothing was changed.",
        "ko": "먼저 종료하세요: dure down. 변경된 것은 없습니다.",
    }


class SharedFolderUnfit(DureError):
    """A folder of the setting `shared_folders` that cannot be given to people."""

    code, status = "shared_folder_unfit", 409
    message: ClassVar[Text] = {
        "en": "The shared folder {name} cannot be given: {path} {why}.",
        "ko": "공유 폴더 {name}을(를) 줄 수 없습니다: {path} {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct its path in `shared_folders` of dure.yaml, make it, mount the disk that is to be there, "
        "or let the portal's user pass the folders above it. Nothing was started.",
        "ko": "dure.yaml의 `shared_folders`에서 경로를 고치거나 폴더를 만드세요. 디스크라면 먼저 마운트하고, "
        "포털의 사용자가 상위 폴더를 지날 수 있게 하세요. 아무것도 시작하지 않았습니다.",
    }
