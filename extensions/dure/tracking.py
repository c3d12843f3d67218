"""Metrics on their way to MLflow: to a file first, then in batches, from a thread of their own.

Training never waits for the tracking server and never fails for it. What could not be sent while it was away is
sent later; what could not be sent by the end stays in `metrics.jsonl`, and a line in the log says so. MLflow
ignores a metric that it has already, so a batch whose answer was lost may be sent again.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

BATCH = 500
"""Metrics a request; MLflow takes up to 1,000."""
PARAMETERS = 100
"""Parameters a request; MLflow takes no more."""
EVERY_S = 1.0
LAST_TRY_S = 15.0


class Tracker:
    """The metrics of one run. Without `uri` or `run_id` they are only written to the file."""

    def __init__(
        self,
        folder: Path,
        uri: str | None,
        run_id: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.run_id = run_id
        self.file, self._mark = folder / "metrics.jsonl", folder / "metrics.sent"
        self._now = now
        self._steps = 0
        self._sent = int(self._mark.read_text()) if self._mark.exists() else 0
        self._wake, self._ending = threading.Event(), threading.Event()
        self._sending = threading.Lock()
        self._refused = 0
        self._parameters: list[dict[str, str]] = []
        self._http = _client(uri, transport) if uri and run_id else None
        self._thread: threading.Thread | None = None

    def log(self, step: int | None, metrics: Mapping[str, Any]) -> None:
        """Keep these values; a step of None counts up from the last."""
        self._steps = self._steps + 1 if step is None else int(step)
        at = round(self._now() * 1000)
        lines = "".join(
            json.dumps({"key": key, "value": _number(value), "timestamp": at, "step": self._steps}) + "\n"
            for key, value in metrics.items()
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as out:
            out.write(lines)
        self._begin()

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record the run's parameters; one that the run has already with another value is left as it is."""
        if self._http is not None and values:
            # Appended without the lock, which is held while a server that is away is waited for.
            self._parameters.extend({"key": str(key), "value": str(value)[:6000]} for key, value in values.items())
            self._begin()

    def _begin(self) -> None:
        if self._http is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dure-tracking", daemon=True)
            self._thread.start()

    def flush(self) -> bool:
        """Send what is there, parameters first; whether all of it has been dealt with."""
        with self._sending:
            while some := self._parameters[:PARAMETERS]:
                if not self._post({"run_id": self.run_id, "params": some}):
                    return False
                del self._parameters[: len(some)]
            while batch := self._unsent():
                lines, size = batch
                if not self._post({"run_id": self.run_id, "metrics": lines}):
                    return False
                self._sent += size
                temporary = self._mark.with_suffix(".tmp")
                temporary.write_text(str(self._sent))
                temporary.replace(self._mark)
        return True

    def close(self) -> None:
        """Try for up to 15 seconds to send the rest, and say so where it stays behind."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._http is None or not (self._parameters or self.file.exists()):
            return
        deadline, done = time.monotonic() + LAST_TRY_S, self.flush()
        while not done and time.monotonic() < deadline:
            time.sleep(0.5)
            done = self.flush()
        if self._parameters:
            names = ", ".join(parameter["key"] for parameter in self._parameters[:5])
            _tell(f"Tracking does not answer; {len(self._parameters)} parameters were not sent ({names} …).")
        if not done and self.file.exists():
            _tell(f"Tracking does not answer; metrics that were not sent are kept in {self.file}.")
        if self._refused:
            _tell(f"Tracking refused {self._refused} metrics; they are in {self.file}.")
        self._http.close()

    def _run(self) -> None:
        pause = EVERY_S
        while not self._ending.is_set():
            self._wake.wait(pause)
            pause = EVERY_S if self.flush() else min(pause * 2, 30.0)

    def _unsent(self) -> tuple[list[dict[str, Any]], int] | None:
        if not self.file.exists():
            return None
        with self.file.open("rb") as lines:
            lines.seek(self._sent)
            taken = [line for line, _ in zip(lines, range(BATCH), strict=False) if line.endswith(b"\n")]
        return ([json.loads(line) for line in taken], sum(map(len, taken))) if taken else None

    def _post(self, body: Mapping[str, Any]) -> bool:
        """Whether this need not be sent again."""
        assert self._http is not None  # noqa: S101 - only called where there is one
        try:
            answer = self._http.post("/api/2.0/mlflow/runs/log-batch", json=body)
        except httpx.TransportError:
            return False
        if answer.status_code in (400, 404, 422):
            # The server understood and will not change its mind: keeping it would block all that follows.
            self._refused += len(body.get("metrics", ()))
            return True
        return answer.is_success


def _client(uri: str, transport: httpx.BaseTransport | None) -> httpx.Client:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    local = httpx.URL(uri).host in ("127.0.0.1", "localhost", "::1")
    return httpx.Client(
        base_url=uri,
        headers=headers,
        timeout=httpx.Timeout(10, connect=3),
        transport=transport,
        trust_env=not local,
    )


def _number(value: Any) -> float | str:
    plain = float(value.item() if hasattr(value, "item") else value)
    # JSON has no such numbers; MLflow reads these texts.
    return plain if math.isfinite(plain) else "NaN" if math.isnan(plain) else f"{'-' * (plain < 0)}Infinity"


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
