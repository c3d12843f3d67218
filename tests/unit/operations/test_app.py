"""The portal service as its own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.migrations import HEAD
from dure_hub.store.models import Leadership


def portal(folder: Path) -> Settings:
    """A data folder as `up` leaves it, without anything that runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(data=folder, instance="0" * 12, portal_port=port, hub_port=9, port=9)
    settings.folder.create()
    for name in ("portal-token", "cookie-secret", "session-key", "mlflow-flask-key"):
        (settings.folder.secrets / name).write_text("0" * 64)
    settings.save()
    return settings


def begin(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DURE_DATA": str(settings.data)}
    with log.open("w") as out:
        return subprocess.Popen([sys.executable, "-m", "dure_hub.app"], env=environment, stdout=out, stderr=out)


def test_it_answers_leads_and_ends_when_asked(tmp_path: Path) -> None:
    settings = portal(tmp_path / "data")
    migrate(settings)
    log = tmp_path / "log"
    process = begin(settings, log)
    try:
        url = f"http://127.0.0.1:{settings.portal_port}/services/dure/api/v1/about"
        for _ in range(600):
            try:
                answer = httpx.get(url, timeout=5)
                break
            except httpx.TransportError:
                pass
            try:
                process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            pytest.fail(log.read_text()[-2000:])
        assert process.poll() is None, log.read_text()[-2000:]
        assert answer.status_code in (200, 401)
        until_led(settings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM), log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def until_led(settings: Settings) -> None:
    """The reconciler's first look has begun."""
    store = Store(database_url(settings))
    deadline = time.monotonic() + 30
    leader = None
    while leader is None and time.monotonic() < deadline:
        with store.reading() as session:
            leader = session.get(Leadership, "reconcile")
    store.close()
    assert leader is not None


def test_a_database_of_another_version_is_said_in_a_sentence(tmp_path: Path) -> None:
    settings = portal(tmp_path / "data")
    log = tmp_path / "log"
    process = begin(settings, log)
    assert process.wait(60) == 1
    assert f"revision none, and this version of Dure works with {HEAD}" in log.read_text()
    assert "Traceback" not in log.read_text()
