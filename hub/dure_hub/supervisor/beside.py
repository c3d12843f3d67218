"""Runs a service of the portal that no supervisor started: `python -m dure_hub.supervisor.beside PROGRAM …`.

It holds run/lock together with the other services, and the program it becomes keeps it. Whoever wants the lock
for themselves (`dure prepare`, `restore`, `upgrade`) sees that the portal is up, also where processes of another
container cannot be seen; and a service that comes while one of them works waits until it is done.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def share(run: Path) -> int:
    """Share the lock with the other services, once nobody has it alone. The descriptor outlives `exec`."""
    descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)
    return descriptor


def main(words: Sequence[str]) -> None:
    """Become the program. `DURE_DATA` names a folder that `dure prepare` made."""
    os.umask(0o077)
    share(Path(os.environ["DURE_DATA"]) / "run")
    os.execvp(words[0], list(words))  # noqa: S606 - the very words that the pod names


if __name__ == "__main__":
    main(sys.argv[1:])
