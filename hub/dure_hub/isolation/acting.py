"""What the portal does in a person's home where people have accounts: a small program, run as that person.

The home is theirs, links and all: the portal, which is root, writes nothing into it itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dure_hub.isolation.accounts import Account
from dure_hub.isolation.errors import AccountFailed

PATIENCE_S = 60


def act_as(account: Account, program: Path, words: Sequence[str]) -> str:
    """Run this file, of the standard library alone; its output. Raises `AccountFailed`, with its last line."""
    # A Python that was linked elsewhere finds its own library by this alone.
    passed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(program), *words],
            env=passed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[account.shared],
            umask=0o077,
        )
    except subprocess.TimeoutExpired as late:
        raise AccountFailed(name=account.name, why=f"{program.name} does not end") from late
    if done.returncode != 0:
        raise AccountFailed(name=account.name, why=(done.stderr.strip().splitlines() or ["no reason"])[-1][:200])
    return done.stdout
