"""Whether a real kernel runs on each GPU, and if not, why, in words: driver, torch, architecture, or the GPU.

Each GPU is tried in a process of its own, shown that GPU alone, within a bound of time: a kernel on a dead GPU may
never return. `explain` is a pure function of what that process said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Device
from dure_hub.catalogue import gpus

BOUND_S = 60.0
KERNEL = Path(__file__).with_name("gpukernel.py")
Pair = tuple[str, str]
_WORDS: Mapping[str, Pair] = {
    "fine": (
        "a kernel ran and its result is right (torch {torch}, CUDA {cuda})",
        "커널을 실행했고 결과가 맞습니다(torch {torch}, CUDA {cuda})",
    ),
    "wrong": (
        "a kernel ran, and its result is WRONG: give this GPU to nobody",
        "커널을 실행했지만 결과가 틀립니다. 이 GPU를 배정하지 마세요",
    ),
    "no_torch": (
        "no kernel was run: torch is not installed here",
        "torch가 설치되지 않아 커널을 실행하지 않았습니다",
    ),
    "broken_torch": ("torch cannot be imported: {error}", "torch를 불러올 수 없습니다: {error}"),
    "cpu_build": (
        "torch {torch} is a build for CPUs only; it can use no GPU",
        "torch {torch}은(는) CPU 전용 빌드라 GPU를 쓸 수 없습니다",
    ),
    "old_driver": (
        "the driver ({driver}) is older than torch's CUDA {cuda} needs",
        "드라이버({driver})가 torch의 CUDA {cuda}에 필요한 버전보다 오래되었습니다",
    ),
    "no_arch": (
        "torch {torch} has no kernels for compute capability {capability}; it was built for {archs}",
        "torch {torch}에는 연산 능력 {capability}용 커널이 없습니다. 빌드 대상: {archs}",
    ),
    "mig_empty": (
        "MIG is on and no instance is made, so nothing can run on it yet",
        "MIG가 켜져 있지만 인스턴스가 없어 아직 아무것도 실행할 수 없습니다",
    ),
    "lost": ("the GPU does not answer (lost, or it needs a reset): {error}", "GPU가 응답하지 않습니다: {error}"),
    "in_use": (
        "no memory was free on it, since others use it: {error}",
        "다른 프로세스가 사용 중이라 빈 메모리가 없습니다: {error}",
    ),
    "unseen": (
        "torch does not see it (torch {torch}, CUDA {cuda}, driver {driver})",
        "torch가 이 GPU를 찾지 못합니다(torch {torch}, CUDA {cuda}, 드라이버 {driver})",
    ),
    "stuck": (
        "the kernel did not return within {bound_s} s; the process was ended",
        "커널이 {bound_s}초 안에 끝나지 않아 프로세스를 종료했습니다",
    ),
    "died": (
        "the process of the kernel ended with code {code}: {error}",
        "커널 프로세스가 코드 {code}(으)로 끝났습니다: {error}",
    ),
    "failed": ("no kernel could be run: {error}", "커널을 실행하지 못했습니다: {error}"),
}
_TO_DO: Mapping[str, Pair] = {
    "no_torch": ("Install torch to have kernels run here.", "커널을 실행해 보려면 torch를 설치하세요."),
    "cpu_build": (
        "Install the build of torch for CUDA from pytorch.org.",
        "pytorch.org에서 CUDA용 torch 빌드를 설치하세요.",
    ),
    "old_driver": (
        "Update NVIDIA's driver, or install a build of torch for an older CUDA.",
        "NVIDIA 드라이버를 업데이트하거나 더 낮은 CUDA용 torch를 설치하세요.",
    ),
    "no_arch": (
        "Install a torch that was built for this GPU: a newer one for a new GPU, an older one for an old GPU.",
        "이 GPU용으로 빌드된 torch를 설치하세요. 새 GPU에는 더 새 버전, 오래된 GPU에는 이전 버전입니다.",
    ),
    "mig_empty": (
        "Let the portal make instances (mig_dynamic), or make some with `dure gpus --cut`.",
        "포털이 인스턴스를 만들게 하거나(mig_dynamic) `dure gpus --cut`으로 만드세요.",
    ),
    "lost": (
        "Reset it (`nvidia-smi --gpu-reset`) or reboot; then `dure device uncordon`.",
        "GPU를 재설정하거나(`nvidia-smi --gpu-reset`) 재부팅한 뒤 `dure device uncordon`을 실행하세요.",
    ),
    "wrong": ("Cordon it, and have it replaced.", "배정을 중지하고 교체하세요."),
    "stuck": ("Cordon it, and reset it or reboot.", "배정을 중지하고 재설정하거나 재부팅하세요."),
}
_OLD_DRIVER = ("driver on your system is too old", "insufficient for cuda runtime", "forward compatibility")
_NO_ARCH = ("no kernel image", "not compatible with the current pytorch", "invalid device function")
_LOST = (
    "device-side",
    "unknown error",
    "ecc",
    "hardware",
    "is lost",
    "fallen off",
    "launch failure",
    "unspecified",
)
_OUT_OF_MEMORY = ("out of memory", "outofmemoryerror", "devices are busy or unavailable", "busy or unavailable")


@dataclass(frozen=True)
class Checked:
    """What came of one GPU: `code` says how, `text` and `to_do` in each language (English, Korean)."""

    code: str
    text: Pair
    to_do: Pair | None = None

    @property
    def fine(self) -> bool:
        """Whether a kernel ran and was right."""
        return self.code == "fine"


def explain(said: Mapping[str, Any], driver: str | None, *, mig_empty: bool = False) -> Checked:
    """Why a kernel ran, or did not, from what its process said of it."""
    facts = {"driver": driver or "?", "torch": "?", "cuda": "?", "capability": "?", "error": "", **said}
    facts["archs"] = ", ".join(said.get("archs", ())) or "-"
    facts["error"] = " ".join(str(facts["error"]).split())[:300]
    code = _code(said, mig_empty)
    english, korean = _WORDS[code]
    return Checked(code, (english.format(**facts), korean.format(**facts)), _TO_DO.get(code))


def _code(said: Mapping[str, Any], mig_empty: bool) -> str:
    step, error = said.get("step"), str(said.get("error", "")).lower()
    if step in ("stuck", "died"):
        return str(step)
    if step == "import":
        return "no_torch" if said.get("missing") else "broken_torch"
    if step == "build":
        return "cpu_build"
    if step == "done" and not error:
        return "fine" if said.get("right") else "wrong"
    known = {"old_driver": _OLD_DRIVER, "no_arch": _NO_ARCH, "in_use": _OUT_OF_MEMORY}
    for code, signs in known.items():
        if any(sign in error for sign in signs):
            return code
    if mig_empty:
        return "mig_empty"
    if _lacks_arch(said):
        return "no_arch"
    if any(sign in error for sign in _LOST):
        return "lost"
    return "unseen" if not said.get("count") else "failed"


def _lacks_arch(said: Mapping[str, Any]) -> bool:
    """Whether torch has neither code for this GPU nor any that its driver could make some from.

    Code for 8.0 runs on 8.6 too, not on 9.0; `compute_` is for that and all that came later.
    """
    capability, archs = said.get("capability"), said.get("archs")
    if not capability or not archs:
        return False
    major, minor = (int(part) for part in str(capability).split("."))
    for arch in archs:
        kind, _, text = str(arch).partition("_")
        digits = "".join(filter(str.isdigit, text))
        if len(digits) < 2:
            return False
        own, least = int(digits[:-1]), int(digits[-1])
        if (kind == "compute" and (own, least) <= (major, minor)) or (own == major and least <= minor):
            return False
    return True


async def check(device: Device, bound_s: float = BOUND_S) -> Checked:
    """Run a kernel on this GPU now, or on the first of its MIG instances; `bound_s` at most."""
    made = [one.uuid for one in device.instances if one.uuid]
    empty = bool(device.mig_mode) and not made
    if empty:
        return explain({"step": "init"}, device.driver, mig_empty=True)
    shown = made[0] if device.mig_mode and made else device.uuid
    said = await run({"CUDA_VISIBLE_DEVICES": shown}, bound_s)
    model = gpus.by_key(device.key) if device.key else None
    if "capability" not in said and model is not None and "archs" in said:
        said = {**said, "capability": model.compute_capability}
    return explain(said, device.driver)


async def run(more: Mapping[str, str], bound_s: float = BOUND_S) -> Mapping[str, Any]:
    """What the process of the kernel says. One that is silent or stuck is told apart, and is ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # else what lies beside it would hide parts of Python
        str(KERNEL),
        env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", **more},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), bound_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        return {"step": "stuck", "bound_s": int(bound_s)}
    try:
        said = json.loads(out.decode("utf-8", "replace").strip().rpartition("\n")[2])
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return {"step": "died", "code": process.returncode, "error": errors.decode("utf-8", "replace")[-300:]}
    return said
