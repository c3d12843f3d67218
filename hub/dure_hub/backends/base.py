"""One small interface for each capability. A backend acts and looks; it decides nothing and remembers nothing.

Quota, lifetime and cost were settled by the caller, who also recorded the lease before calling. All that a
backend needs later is in the handle. What runs carries its lease's id as a mark, so that `seen()` finds it
after any crash, even where no row is left. Gaps are data: `unsupported`, each with the sentence people read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from dure.errors import DureError, Text, Unsupported
from dure_hub.backends.holding import HeldBack as HeldBack
from dure_hub.backends.logs import LONGEST_CHARACTER as LONGEST_CHARACTER
from dure_hub.backends.logs import LogPiece as LogPiece
from dure_hub.backends.logs import begin as begin
from dure_hub.backends.logs import piece_of as piece_of
from dure_hub.backends.places import NO_MIG as NO_MIG
from dure_hub.backends.places import Device as Device
from dure_hub.backends.places import Fault as Fault
from dure_hub.backends.places import Health as Health
from dure_hub.backends.places import Inventory as Inventory
from dure_hub.backends.places import Measures as Measures
from dure_hub.backends.places import MigDevice as MigDevice
from dure_hub.backends.places import MigRefused as MigRefused
from dure_hub.backends.places import NodeInventory as NodeInventory
from dure_hub.backends.places import Outsider as Outsider
from dure_hub.backends.places import OwnUse as OwnUse
from dure_hub.backends.places import Reading as Reading
from dure_hub.backends.places import Usage as Usage
from dure_hub.backends.work import ExecutionWork as ExecutionWork
from dure_hub.backends.work import ServerWork as ServerWork
from dure_hub.backends.work import ServingWork as ServingWork
from dure_hub.backends.work import TrainingWork as TrainingWork
from dure_hub.backends.work import Work as Work
from dure_hub.catalogue.machine import MigInstance


class Feature(StrEnum):
    """What a backend may lack."""

    GPU = "gpu"
    MEMORY_LIMIT = "memory_limit"
    CPU_LIMIT = "cpu_limit"
    USER_ISOLATION = "user_isolation"
    MIG = "mig"
    GPU_SHARING = "gpu_sharing"
    TRAINING = "training"
    SERVING = "serving"
    MULTI_NODE = "multi_node"
    SCHEDULES = "schedules"
    OWN_TMP = "own_tmp"
    OWN_PYTHON = "own_python"
    SHARED_FOLDERS = "shared_folders"
    VOLUMES = "volumes"
    CONTAINER_IMAGES = "container_images"


class Kind(StrEnum):
    """What sort of thing runs under a lease."""

    SERVER = "server"
    JOB = "job"
    MODEL = "model"
    EXECUTION = "execution"


class Phase(StrEnum):
    """What a look sees. GONE is never in `seen()`; it is what `poll` says of a handle with nothing behind it."""

    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"


class Reason(StrEnum):
    """Why something ended, as far as the backend can see. `REASONS` has the sentences."""

    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    STOPPED = "stopped"
    PREEMPTED = "preempted"
    NOT_EXECUTABLE = "not_executable"
    NEVER_STARTED = "never_started"
    KEEPER_LOST = "keeper_lost"
    MACHINE_RESTARTED = "machine_restarted"


REASONS: Mapping[Reason, Mapping[str, str]] = {
    Reason.FINISHED: {"en": "It finished.", "ko": "정상적으로 끝났습니다."},
    Reason.FAILED: {
        "en": "It ended by itself with an error; its log says which.",
        "ko": "오류로 스스로 종료되었습니다. 로그에서 원인을 확인하세요.",
    },
    Reason.KILLED: {
        "en": "Something outside the portal killed it; often the machine ran out of memory.",
        "ko": "포털 밖에서 강제로 종료되었습니다. 메모리 부족인 경우가 많습니다.",
    },
    Reason.OUT_OF_MEMORY: {
        "en": "It took more memory than its profile has, and was ended for that; a larger profile has more.",
        "ko": "프로필의 메모리보다 많이 써서 종료되었습니다. 메모리가 더 큰 프로필을 쓰세요.",
    },
    Reason.STOPPED: {"en": "It was stopped on request.", "ko": "요청에 따라 중지되었습니다."},
    Reason.PREEMPTED: {
        "en": "The cluster's queue ended it, to give its GPUs to a team within its quota or to more urgent work.",
        "ko": "할당량 안에 있는 팀이나 더 급한 작업에 GPU를 주려고 클러스터 대기열이 종료했습니다.",
    },
    Reason.NOT_EXECUTABLE: {
        "en": "Its command could not be started; its log says why.",
        "ko": "명령을 실행할 수 없었습니다. 로그에서 이유를 확인하세요.",
    },
    Reason.NEVER_STARTED: {
        "en": "The portal was interrupted before it could start this.",
        "ko": "시작하기 전에 포털이 중단되었습니다.",
    },
    Reason.KEEPER_LOST: {
        "en": "It ended after the process that watched it was killed, so its exit code is unknown.",
        "ko": "감시하던 프로세스가 먼저 강제 종료되어 종료 코드를 알 수 없습니다.",
    },
    Reason.MACHINE_RESTARTED: {
        "en": "The machine was restarted while it ran.",
        "ko": "실행 중에 머신이 다시 시작되었습니다.",
    },
}


@dataclass(frozen=True)
class Handle:
    """All that is needed to find and stop a thing again. `where` is plain JSON and belongs to the backend."""

    lease: str
    kind: Kind
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One thing of ours as the world shows it. `exit_code` is null while running, or where it was lost.

    A signal's exit code is its number below zero; `reason` is one of `Reason`. EXITED means that nothing of it is
    left, the processes it started included. `started` is the start time in seconds since the epoch where known.
    `ended_ago_s` is how long before the look it ended; null is not known. Without `exact` that is the least, and
    it may have ended at any time since it was last seen to run. `said` is what the place itself says of its end.
    """

    handle: Handle
    phase: Phase
    exit_code: int | None = None
    reason: str | None = None
    started: float | None = None
    ended_ago_s: float | None = None
    exact: bool = True
    said: str | None = None


class StillRuns(DureError):
    """Only what has ended can be forgotten."""

    code, status = "still_runs", 409
    message: ClassVar[Text] = {
        "en": "What lease {lease} started still runs.",
        "ko": "임대 {lease}이(가) 시작한 것이 아직 실행 중입니다.",
    }
    next_step: ClassVar[Text] = {"en": "Stop it first.", "ko": "먼저 중지하세요."}


class Runs(ABC):
    """What servers, jobs and model servers share: stopping and looking."""

    unsupported: Mapping[Feature, Mapping[str, str]] = {}
    """What this backend cannot do here; each sentence in English and Korean (`{"en": …, "ko": …}`)."""

    def refuse(self, feature: Feature) -> None:
        """Raises `Unsupported` with its sentence, where this is what the backend cannot do here."""
        why = self.unsupported.get(feature)
        if why is not None:
            raise Unsupported(feature=feature.value, why=why)

    @abstractmethod
    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Stop it and everything it started; SIGKILL after `grace_s`. What is already gone is not an error."""

    @abstractmethod
    async def seen(self) -> Sequence[Seen]:
        """Everything of ours of this kind, found by its mark, asked for at once; rows or no rows."""

    @abstractmethod
    async def poll(self, handle: Handle) -> Seen:
        """Look at one thing. Never raises for what is missing: that is phase GONE."""

    @abstractmethod
    async def forget(self, handle: Handle) -> None:
        """Drop what an ended thing left behind (its run folder), so that `seen` no longer lists it.

        What is gone already is not an error. Raises `StillRuns`.
        """

    @abstractmethod
    async def log(self, handle: Handle, offset: int, limit: int) -> LogPiece:
        """A piece of its log; an empty one past the end. An `offset` below 0 counts from the end.

        No character is cut in two, and at least a whole one is read. Where nothing of it could be executed, the
        log says why.
        """

    @abstractmethod
    async def keep_log(self, handle: Handle, target: Path) -> None:
        """Copy its whole log, byte for byte, to a file of mode 600 that appears whole; empty if there is none."""

    @abstractmethod
    async def tail(self, handle: Handle, limit: int) -> str:
        """The last `limit` bytes of its log as text."""


PAGES_S = 10.0
"""How long a server that is asked before its end waits for its pages to save."""
ANSWER_S = 1.0
"""What of the time is left for its answer."""


def hook_s(limit_s: float) -> float:
    """What of the time before a stop is its owner's program's."""
    return max(limit_s - PAGES_S - ANSWER_S, 0.0)


class ServerBackend(Runs):
    """Runs people's servers."""

    @abstractmethod
    def start(self, work: ServerWork) -> AsyncIterator[Handle]:
        """Yield a handle as soon as there is something to stop, again as it grows (with the address last).

        If starting fails half-way, `stop` gets the last one; what ends at once may end before it has an address.
        A second start of a lease yields that of the first. Raises `HeldBack` where a queue beside the portal's
        does not let it in, or the place has no room for it after all.
        """

    async def held_back(self, handle: Handle) -> str | None:
        """Why a queue beside the portal's holds it back just now, in that one's words; None where none does."""
        return None

    async def lingers(self, handle: Handle) -> Text | None:
        """Why what was to end is still there, where more than its own time to end is behind that; else None."""
        return None

    async def came_to(self, handle: Handle) -> Sequence[tuple[str, str]]:
        """How far its start is by now, first to last: codes of `operations.progress.STEPS`, each with what of.

        Nothing where the place has no steps to tell (all that a backend must do).
        """
        return ()

    @abstractmethod
    def address(self, handle: Handle) -> tuple[str, int]:
        """Host and port of the server behind this handle."""

    async def located(self, handle: Handle) -> Handle:
        """The same handle with the address in it, where a hub that was killed during a start does not know it.

        Waits for one that is still starting. Raises what a start raises.
        """
        return handle

    async def is_own(self, handle: Handle) -> bool:
        """Whether what listens at its address is its owner's; also where nobody else can, or nobody can tell."""
        return True

    @abstractmethod
    def recall(self, lease: str) -> tuple[Handle, str] | None:
        """Handle and API token of a started server from its own record, where the hub lost them in a crash.

        Asks nobody. Of one that was never started it is None, or a handle of which `poll` says GONE; a token that
        cannot be known without asking is "".
        """

    async def before_stop(
        self, handle: Handle, reason: str, ends_at: str, hook_s: float
    ) -> Mapping[str, Any] | None:
        """Have its pages save, and its owner's program run for at most `hook_s` seconds; what it says of that.

        None where servers cannot be asked (all that a backend must do), and where this one does not answer or says
        what is no JSON object. What it says is its owner's to make up. Whoever asks bounds the time.
        """
        return None

    async def watches_guests(self, handle: Handle) -> bool:
        """Whether it says, within seconds, that it closes at once what a guest has open who may enter no more."""
        return False


class TrainingBackend(Runs):
    """Runs training jobs. `start` raises `Unsupported` where TRAINING is in `unsupported`."""

    @abstractmethod
    def start(self, work: TrainingWork) -> AsyncIterator[Handle]:
        """As `ServerBackend.start`. What the job saves lies under the work's `outputs`."""


class ExecutionBackend(Runs):
    """Runs scheduled notebooks. `start` raises `Unsupported` where SCHEDULES is in `unsupported`."""

    @abstractmethod
    def start(self, work: ExecutionWork) -> AsyncIterator[Handle]:
        """As `ServerBackend.start`. Exit code 0 is a notebook that ran to its end."""


class ServingBackend(Runs):
    """Runs model servers. `start` raises `Unsupported` where SERVING is in `unsupported`."""

    @abstractmethod
    def start(self, work: ServingWork) -> AsyncIterator[Handle]:
        """As `ServerBackend.start`."""

    @abstractmethod
    def address(self, handle: Handle) -> tuple[str, int]:
        """Host and port of the model server behind this handle."""

    @abstractmethod
    async def ready(self, handle: Handle) -> bool:
        """Whether it answers its readiness check now."""


class ArtifactBackend(ABC):
    """Keeps files for good, by name, at one URL. A name is relative, as `snapshots/<digest>.zip`."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether it is there, whole."""

    @abstractmethod
    def keep(self, name: str, file: Path) -> None:
        """Take over this finished local file, whole or not at all; it may be gone from its place afterwards."""

    @abstractmethod
    def fetch(self, name: str) -> Path:
        """A local file with its content, to read and not to change. Raises `FileNotFoundError`."""

    @abstractmethod
    def free(self) -> int:
        """Bytes that still fit."""


class InventoryBackend(ABC):
    """Says what there is, and cuts GPUs where it can."""

    unsupported: Mapping[Feature, Mapping[str, str]] = {}
    """As `Runs.unsupported`. Where MIG is in it, `make` and `remove` refuse with that sentence."""

    @abstractmethod
    async def look(self) -> Inventory:
        """Devices, cores and memory of this place, as they are now."""

    @abstractmethod
    async def measure(self) -> Measures:
        """How busy it is. Takes about a quarter of a second: a rate needs two looks."""

    async def homes(self, owners: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The nodes on which the home of each of these people can be used; who is left out can use it on any."""
        return {}

    async def health(self) -> Health:
        """What is wrong with its GPUs, and what else uses them; a place that cannot tell says that.

        The first call may begin to listen for the driver's events; `close` ends that.
        """
        return Health()

    def close(self) -> None:
        """Listen no more."""
        return

    async def make(self, device: str, mig: str, start: int) -> MigInstance:
        """Make the MIG instance `mig` (a name of the GPU's grid) at memory unit `start` of this GPU.

        One that is there already, whole, is taken as it is. Raises `MigRefused`. The caller recorded whose it is.
        """
        raise MigRefused(device=device, why=self._no_mig())

    async def remove(self, device: str, instance: MigInstance) -> None:
        """Remove this MIG instance. One that is gone already is no error; one in use raises `MigRefused`."""
        raise MigRefused(device=device, why=self._no_mig())

    def _no_mig(self) -> Mapping[str, str]:
        return self.unsupported.get(Feature.MIG, NO_MIG)
