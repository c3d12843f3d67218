"""A session with NVIDIA's driver, by nvidia-ml-py. What it does not answer is None; a refusal is a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from dure_hub.backends.embedded import gaps

NO_LIBRARY = {
    "en": "No NVIDIA driver is installed here (libnvidia-ml.so.1 was not found).",
    "ko": "NVIDIA 드라이버가 설치되어 있지 않습니다(libnvidia-ml.so.1을 찾을 수 없음).",
}
NO_DRIVER = {
    "en": "The NVIDIA driver is installed but not loaded; `nvidia-smi` on this machine says more.",
    "ko": "NVIDIA 드라이버가 설치되었지만 로드되지 않았습니다. 이 머신에서 `nvidia-smi`로 확인하세요.",
}
NO_PERMISSION = {
    "en": "This operating-system user may not use the NVIDIA driver (see /dev/nvidia*).",
    "ko": "이 운영체제 사용자에게 NVIDIA 드라이버 사용 권한이 없습니다(/dev/nvidia* 확인).",
}


class NoDriver(Exception):
    """There is no session; `why` is the sentence, in each language."""

    def __init__(self, why: Mapping[str, str]) -> None:
        super().__init__(why["en"])
        self.why = why


class Mig(Enum):
    """What a GPU says of its MIG mode: NONE has none, UNKNOWN is an error that says nothing either way."""

    NONE, OFF, ON, UNKNOWN = range(4)


class Driver:
    """One session. `lib` is pynvml; any of its calls may raise `lib.NVMLError`."""

    def __init__(self, lib: Any) -> None:
        self.lib = lib

    def maybe(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """The answer; None where the driver has an error for one, be it only that this GPU does not know."""
        try:
            return ask(*arguments)
        except self.lib.NVMLError:
            return None

    def gpus(self) -> Iterator[tuple[str, Any]]:
        """UUID and handle of each; one that has fallen off the bus is left out: it cannot be given to anybody."""
        for index in range(self.lib.nvmlDeviceGetCount()):
            gpu = self.maybe(self.lib.nvmlDeviceGetHandleByIndex, index)
            uuid = self.maybe(self.lib.nvmlDeviceGetUUID, gpu) if gpu is not None else None
            if uuid is not None:
                yield uuid, gpu

    def mig(self, gpu: Any) -> Mig:
        """Whether MIG is on. Only an answer that says so is a GPU without MIG."""
        try:
            mode = self.lib.nvmlDeviceGetMigMode(gpu)
        except self.lib.NVMLError as error:
            without = (self.lib.NVML_ERROR_NOT_SUPPORTED, self.lib.NVML_ERROR_FUNCTION_NOT_FOUND)
            return Mig.NONE if error.value in without else Mig.UNKNOWN
        return Mig.ON if mode[0] else Mig.OFF

    def mig_handles(self, gpu: Any) -> Iterator[Any]:
        """The MIG devices that can be computed on, by handle."""
        for index in range(self.maybe(self.lib.nvmlDeviceGetMaxMigDeviceCount, gpu) or 0):
            handle = self.maybe(self.lib.nvmlDeviceGetMigDeviceHandleByIndex, gpu, index)
            if handle is not None:
                yield handle


@contextlib.contextmanager
def session() -> Iterator[Driver]:
    """Talk to the driver. Raises `NoDriver` where it cannot be reached, or fails half-way."""
    import pynvml  # only who looks pays for its import

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(why(error, pynvml)) from error
    try:
        yield Driver(pynvml)
    except pynvml.NVMLError as error:
        raise NoDriver(why(error, pynvml)) from error
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def why(error: Any, pynvml: Any) -> Mapping[str, str]:
    """The sentence for an error of NVML as a whole."""
    known = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_LIBRARY,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NO_DRIVER,
        pynvml.NVML_ERROR_NO_PERMISSION: NO_PERMISSION,
    }
    return known.get(error.value) or _unknown(error)


def why_not_cut(error: Any, pynvml: Any) -> Mapping[str, str]:
    """The sentence for an error while a MIG instance is made or removed."""
    known = {
        pynvml.NVML_ERROR_NO_PERMISSION: gaps.MIG_NEEDS_RIGHT,
        pynvml.NVML_ERROR_IN_USE: gaps.IN_USE,
        pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: gaps.MIG_TAKEN,
        pynvml.NVML_ERROR_NOT_SUPPORTED: gaps.MIG_OFF,
    }
    return known.get(error.value) or _unknown(error)


def _unknown(error: Any) -> Mapping[str, str]:
    return {
        "en": f"The NVIDIA driver answers with an error: {error}.",
        "ko": f"NVIDIA 드라이버가 오류로 응답합니다: {error}.",
    }
