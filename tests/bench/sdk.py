"""How light `import dure` is, in fresh interpreters, beside `import httpx`."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.bench.record import Figure, compared, pairs


def seconds(code: str) -> float:
    """How long a fresh interpreter takes for this code, its own start included."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def run() -> list[Figure]:
    """`sdk_import` is `import dure`; `sdk_first_use` also loads what the first call to a portal needs."""
    seconds("import httpx, pydantic, dure")  # byte code and the disk's cache, for both alike
    light = pairs(lambda: seconds("import dure"), lambda: seconds("import httpx"), n=9)
    used = pairs(
        lambda: seconds("import dure; dure.train, dure.models.register, dure.wire.Job"),
        lambda: seconds("import httpx, pydantic"),
        n=9,
    )
    return [
        compared("sdk_import", "s", light, at_most=1.5),
        compared("sdk_first_use", "s", used, at_most=1.5),
    ]
