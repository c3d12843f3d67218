"""Programs of the cluster as processes: started with a log each, waited for by asking them, ended by their id."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

PATIENCE_S = 120.0


def until(look: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until it is true; the test fails with what is waited for."""
    deadline = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > deadline:
            pytest.fail(f"Waited {timeout_s:.0f} s for {what}")
        time.sleep(0.05)


class Program:
    """One running program. `log` is a file, which is shown where it does not come up."""

    def __init__(
        self, folder: Path, name: str, words: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.words = name, [str(word) for word in words]
        self.log = folder / f"{name}.log"
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    def up(self, answers: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait until it answers; the test fails with the end of its log where it does not or has ended."""
        deadline = time.monotonic() + timeout_s
        while not answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-3000:]
                pytest.fail(f"{self.name} is not up after {timeout_s:.0f} s, or has ended:\n{said}")
            time.sleep(0.05)

    def stop(self, patience_s: float = 5.0) -> None:
        """Ask it to end, and end it where it does not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:  # an API server without its etcd hangs for a minute
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
