"""The only place that talks to NVML. What a GPU does not say is None; why there is no GPU is a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dure_hub.backends.base import Device, Reading

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
NO_DEVICE = {
    "en": "The NVIDIA driver works but shows no GPU.",
    "ko": "NVIDIA 드라이버는 작동하지만 GPU가 보이지 않습니다.",
}


@dataclass(frozen=True)
class Found:
    """The GPUs, or why there are none."""

    devices: tuple[Device, ...] = ()
    why_none: Mapping[str, str] | None = None


def look() -> Found:
    """Ask NVML now. Never raises for what is missing or broken: that is a sentence."""
    import pynvml  # only who looks pays for its import

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Found(why_none=_why(error, pynvml))
    try:
        devices = _devices(pynvml)
    except pynvml.NVMLError as error:
        return Found(why_none=_why(error, pynvml))
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return Found(devices, None if devices else NO_DEVICE)


def read() -> dict[str, Reading]:
    """How busy each GPU is now, by UUID. Never raises: what one does not say is None, and no GPU is no entry."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        return {uuid: _reading(pynvml, gpu) for uuid, gpu in _gpus(pynvml)}
    except pynvml.NVMLError:
        return {}
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _reading(pynvml: Any, gpu: Any) -> Reading:
    maybe = _asker(pynvml)
    mig = maybe(pynvml.nvmlDeviceGetMigMode, gpu)
    # With MIG on, the utilisation of the whole GPU is not measured; some drivers say 0 there instead of an error.
    busy = None if mig and mig[0] else maybe(pynvml.nvmlDeviceGetUtilizationRates, gpu)
    memory = maybe(pynvml.nvmlDeviceGetMemoryInfo, gpu)
    heat = maybe(pynvml.nvmlDeviceGetTemperature, gpu, pynvml.NVML_TEMPERATURE_GPU)
    power_mw = maybe(pynvml.nvmlDeviceGetPowerUsage, gpu)
    return Reading(
        memory_used_mb=int(memory.used) >> 20 if memory and memory.total else None,
        utilisation=busy.gpu / 100 if busy else None,
        temperature_c=None if heat is None else float(heat),
        power_w=None if power_mw is None else power_mw / 1000,
    )


def _asker(pynvml: Any) -> Callable[..., Any]:
    """Asks NVML; None where it answers with an error, be it only that this GPU or driver does not know."""

    def maybe(ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except pynvml.NVMLError:
            return None

    return maybe


def _gpus(pynvml: Any) -> Iterator[tuple[str, Any]]:
    """UUID and handle of each; one that has fallen off the bus is left out: it cannot be given to anybody."""
    maybe = _asker(pynvml)
    for index in range(pynvml.nvmlDeviceGetCount()):
        gpu = maybe(pynvml.nvmlDeviceGetHandleByIndex, index)
        uuid = maybe(pynvml.nvmlDeviceGetUUID, gpu) if gpu is not None else None
        if uuid is not None:
            yield uuid, gpu


def _devices(pynvml: Any) -> tuple[Device, ...]:
    maybe = _asker(pynvml)
    driver = maybe(pynvml.nvmlSystemGetDriverVersion)
    found = []
    for uuid, gpu in _gpus(pynvml):
        memory, mig = maybe(pynvml.nvmlDeviceGetMemoryInfo, gpu), maybe(pynvml.nvmlDeviceGetMigMode, gpu)
        found.append(
            Device(
                uuid=uuid,
                name=maybe(pynvml.nvmlDeviceGetName, gpu) or "GPU",
                memory_mb=int(memory.total) >> 20 if memory else None,
                driver=driver,
                mig_mode=bool(mig[0]) if mig else None,
            )
        )
    return tuple(found)


def _why(error: Any, pynvml: Any) -> Mapping[str, str]:
    known = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_LIBRARY,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NO_DRIVER,
        pynvml.NVML_ERROR_NO_PERMISSION: NO_PERMISSION,
    }
    unknown = {
        "en": f"The NVIDIA driver answers with an error: {error}.",
        "ko": f"NVIDIA 드라이버가 오류로 응답합니다: {error}.",
    }
    return known.get(error.value, unknown)
