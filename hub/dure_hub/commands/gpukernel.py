"""A small matrix multiplication on the one GPU that this process is shown, checked; what came of it, as JSON.

Run as a program of its own, `python gpukernel.py`: it imports nothing of ours, and whatever the driver does to it,
nobody else is hurt. What it says is explained by `gpucheck`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

SIZE = 256


def check() -> dict[str, Any]:
    """Facts: the build of torch, what it was built for, and how far it came."""
    try:
        import torch
    except ImportError as error:
        return {"step": "import", "error": str(error), "missing": getattr(error, "name", None) == "torch"}
    found: dict[str, Any] = {"step": "build", "torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.version.cuda is None:
        return found
    found |= {"step": "init", "archs": torch.cuda.get_arch_list()}
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        found["count"] = torch.cuda.device_count()
        if not found["count"]:
            return found
        major, minor = torch.cuda.get_device_capability(0)
        found |= {"step": "kernel", "capability": f"{major}.{minor}", "name": torch.cuda.get_device_name(0)}
        one = torch.arange(SIZE * SIZE, dtype=torch.float32).reshape(SIZE, SIZE) % 7
        wanted = one @ one
        got = (one.cuda() @ one.cuda()).cpu()
        torch.cuda.synchronize()
        # small whole numbers: exact in any order, also where the GPU rounds to TF32
        found |= {"step": "done", "right": bool(torch.equal(got, wanted))}
    except Exception as error:  # noqa: BLE001 - what it is, is the finding
        found["error"] = f"{type(error).__name__}: {error}"[:2000]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check()) + "\n")
