"""Starts the same work many times, each time in a process that is killed with SIGKILL somewhere on the way.

Called with a JSON file: `settings`, `code`, and `trials`, each with a lease and either `step` (killed at
the n-th thing it asks of the operating system) or `delay_s` (killed that long after the start began). Prints for
each trial whether the starter got to its end.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from dure_hub.backends.base import ServerWork
from dure_hub.backends.embedded import EmbeddedServers
from dure_hub.settings import Settings

STEPS = ("os.mkdir", "os.rename", "os.posix_spawn", "fcntl.flock", "socket.bind", "socket.connect")


async def start(job: dict[str, Any], lease: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": job["code"], "STUB": "serve"}
    work = ServerWork(
        lease, "ann", Path(job["code"]), environment, command=[sys.executable, "-P", "-m", "stub", "{port}"]
    )
    async for _ in EmbeddedServers(Settings(**job["settings"]), program="stub").start(work):
        pass


def die_at(step: int) -> None:
    """End this process with SIGKILL just before its `step`-th request of these kinds."""
    left = step

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        opened = event == "open" and str(arguments[0])
        written = opened and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        # What is read once the process is made: without these, no step would lie after that.
        if event in STEPS or written or (opened and opened.endswith(("/stat", "started.json"))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    for trial in job["trials"]:
        pid = os.fork()
        if pid == 0:
            if "step" in trial:
                die_at(trial["step"])
            asyncio.run(start(job, trial["lease"]))
            os._exit(0)
        if "delay_s" in trial:
            time.sleep(trial["delay_s"])
            os.kill(pid, signal.SIGKILL)
        print(os.waitpid(pid, 0)[1] == 0, flush=True)


if __name__ == "__main__":
    main()
