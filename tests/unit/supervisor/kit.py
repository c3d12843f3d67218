"""What several tests of the supervisor need."""

import asyncio
import subprocess
from collections.abc import Callable

Begin = Callable[..., tuple["subprocess.Popen[str]", str]]
"""Starts Python code with words and variables; gives the process and the first line it printed."""

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
WAIT_S = 20


async def until(look: Callable[[], bool]) -> None:
    """Poll until true."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if look():
                return
            await asyncio.sleep(0.02)
