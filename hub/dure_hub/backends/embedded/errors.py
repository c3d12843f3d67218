"""What can go wrong with processes of this machine."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class WouldNotEnd(DureError):
    """Even SIGKILL did not end it: it hangs in the kernel (a dead disk or GPU), or is another user's."""

    code, status = "would_not_end", 503
    message: ClassVar[Text] = {
        "en": "Processes {pids} of lease {lease} do not end, not even when killed.",
        "ko": "임대 {lease}의 프로세스 {pids}이(가) 강제 종료해도 끝나지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "They hang in the kernel or belong to another user: an administrator has to look at the machine.",
        "ko": "커널에서 멈췄거나 다른 사용자의 프로세스입니다. 관리자가 머신을 확인해야 합니다.",
    }


class CouldNotStart(DureError):
    """The operating system refused: no memory, no process, no disk space, no port."""

    code, status = "could_not_start", 503
    message: ClassVar[Text] = {
        "en": "The machine could not start a process: {why}.",
        "ko": "머신에서 프로세스를 시작할 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Try again later; `dure doctor` shows disk, memory and limits.",
        "ko": "나중에 다시 시도하세요. `dure doctor`가 디스크, 메모리, 제한을 보여 줍니다.",
    }


class BadFleet(DureError):
    """The file of a simulated fleet says something that cannot be."""

    code, status = "bad_fleet", 400
    message: ClassVar[Text] = {
        "en": "{file}, line {line}: {value} cannot be; the rule is: {rule}.",
        "ko": "{file} {line}번째 줄: {value}은(는) 쓸 수 없습니다. 규칙: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct it, or name a preset in DURE_SIMULATED_FLEET: workstation, dgx-a100, dgx-h100, campus.",
        "ko": "파일을 고치거나 DURE_SIMULATED_FLEET에 프리셋을 쓰세요: workstation, dgx-a100, dgx-h100, campus.",
    }
