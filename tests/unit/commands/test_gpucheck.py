"""What `dure doctor` says of a kernel, from what its process said; and that process itself, here without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from dure_hub.backends.base import Device
from dure_hub.commands import gpucheck
from dure_hub.commands.gpucheck import check, explain, run

BUILT = {"torch": "2.9.0+cu128", "cuda": "12.8", "archs": ["sm_75", "sm_80", "sm_86", "sm_90", "compute_90"]}
NVIDIA_TOO_OLD = (
    "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


def said(step: str, **more: Any) -> dict[str, Any]:
    return {**BUILT, "step": step, **more}


@pytest.mark.parametrize(
    ("what", "code", "word"),
    [
        (said("done", count=1, capability="9.0", right=True), "fine", "CUDA 12.8"),
        (said("done", count=1, capability="9.0", right=False), "wrong", "WRONG"),
        ({"step": "import", "error": "No module named 'torch'", "missing": True}, "no_torch", "not installed"),
        (
            {"step": "import", "error": "libcudart.so: cannot open", "missing": False},
            "broken_torch",
            "libcudart",
        ),
        ({"step": "build", "torch": "2.9.0+cpu", "cuda": None}, "cpu_build", "2.9.0+cpu"),
        (said("init", error=NVIDIA_TOO_OLD), "old_driver", "470.1"),
        (
            said("init", error="RuntimeError: CUDA driver version is insufficient for CUDA runtime version"),
            "old_driver",
            "12.8",
        ),
        (
            said(
                "kernel",
                count=1,
                capability="6.1",
                error="AcceleratorError: CUDA error: no kernel image is available",
            ),
            "no_arch",
            "6.1",
        ),
        (said("kernel", count=1, capability="7.0", error="RuntimeError: something else"), "no_arch", "sm_75"),
        (
            said("kernel", count=1, capability="9.0", error="OutOfMemoryError: CUDA out of memory. Tried to"),
            "in_use",
            "others use it",
        ),
        (
            said("init", error="RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
            "in_use",
            "busy",
        ),
        (
            said(
                "kernel", count=1, capability="9.0", error="AcceleratorError: CUDA error: uncorrectable ECC error"
            ),
            "lost",
            "ECC",
        ),
        (said("init", count=0), "unseen", "470.1"),
        (said("init", error="RuntimeError: No CUDA GPUs are available"), "unseen", "does not see"),
        (said("kernel", count=1, capability="9.0", error="RuntimeError: cuBLAS is upset"), "failed", "cuBLAS"),
        ({"step": "stuck", "bound_s": 60}, "stuck", "60 s"),
        ({"step": "died", "code": -11, "error": "Segmentation fault"}, "died", "-11"),
    ],
)
def test_each_trouble_has_its_own_sentence(what: dict[str, Any], code: str, word: str) -> None:
    found = explain(what, "470.1")
    assert found.code == code
    assert word in found.text[0]
    assert found.text[1] != found.text[0]
    assert "{" not in "".join(found.text)
    assert found.fine is (code == "fine")


@pytest.mark.parametrize(
    ("capability", "lacks"), [("9.0", False), ("12.0", False), ("8.9", False), ("7.0", True), ("6.1", True)]
)
def test_code_for_an_architecture_runs_on_its_later_kin_and_ptx_on_all_that_came_after(
    capability: str, lacks: bool
) -> None:
    assert gpucheck._lacks_arch({"capability": capability, "archs": BUILT["archs"]}) is lacks


def test_without_ptx_a_newer_architecture_lacks_too() -> None:
    assert gpucheck._lacks_arch({"capability": "12.0", "archs": ["sm_80", "sm_90"]})
    assert not gpucheck._lacks_arch({"capability": "12.0", "archs": ["sm_90", "sm_120a"]})
    assert not gpucheck._lacks_arch({"capability": "9.0", "archs": []})


async def test_with_mig_on_and_nothing_made_no_kernel_is_tried() -> None:
    found = await check(Device("u", "H100", 81920, mig_mode=True, instances=()))
    assert found.code == "mig_empty"
    assert found.to_do is not None


async def test_the_real_process_says_what_torch_is_here() -> None:
    found = explain(await run({"CUDA_VISIBLE_DEVICES": "GPU-none"}, 300), None)
    assert found.code in ("no_torch", "cpu_build", "unseen", "old_driver"), found


async def test_a_process_that_hangs_is_ended(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("import time\nwhile True: time.sleep(1)\n")
    monkeypatch.setattr(gpucheck, "KERNEL", silent)
    assert (await run({}, 0.5))["step"] == "stuck"


async def test_one_that_dies_without_a_word_is_told_with_its_code(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / "dead.py"
    dead.write_text("import os, sys\nsys.stderr.write('Bus error')\nsys.stderr.flush()\nos._exit(7)\n")
    monkeypatch.setattr(gpucheck, "KERNEL", dead)
    found = await run({}, 60)
    assert (found["step"], found["code"], found["error"]) == ("died", 7, "Bus error")
