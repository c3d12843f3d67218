"""`dure prepare`: a data folder made ready for services that no supervisor starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dure_hub import accounts
from dure_hub.settings import Settings, load_settings
from dure_hub.supervisor import lock
from tests.unit.commands.test_commands import dure

FIXED = {"DURE_HUB_PORT": "28081", "DURE_PORTAL_PORT": "28082", "DURE_DISK_MINIMUM_MB": "0"}


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the chart says it in a pod's environment."""
    for name, value in FIXED.items():
        monkeypatch.setitem(os.environ, name, value)


def prepare(data: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run it as an init container does."""
    return subprocess.run(
        [sys.executable, "-m", "dure.cli", "prepare", *words],
        env={**os.environ, "DURE_DATA": str(data), "DURE_LANGUAGE": "en", "DURE_PORT": "28000", **changes},
        capture_output=True,
        text=True,
        timeout=120,
    )


def files_of(data: Path) -> dict[str, bytes]:
    """What must not change: secrets, settings, the folder's mark."""
    kept = [*(data / "secrets").iterdir(), data / "run" / "settings.json", data / "instance"]
    return {str(path.relative_to(data)): path.read_bytes() for path in kept}


def test_it_makes_everything_that_services_need_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    data, password = tmp_path / "d", tmp_path / "password"
    password.write_text("maple-otter-seven-9\n")
    password.chmod(0o440)  # as a pod's Secret is for its group
    words = ("--secret", f"database-password={password}", "--admin-password-file", str(password))
    done = prepare(data, *words)
    assert done.returncode == 0, done.stderr
    assert "is ready for the portal's services" in done.stdout
    assert "maple" not in done.stdout + done.stderr, "a pod's log is read by many"
    settings = load_settings(data)
    assert (settings.hub_port, settings.portal_port, bool(settings.instance)) == (28081, 28082, True)
    assert {path.stat().st_mode & 0o777 for path in settings.folder.secrets.iterdir()} == {0o600}
    assert settings.folder.secret("database-password") == "maple-otter-seven-9"
    account = accounts.check_password(settings, "admin", "maple-otter-seven-9")
    assert account is not None
    assert account.admin
    assert (data / "db" / "dure.sqlite").exists()
    before = files_of(data)
    password.write_text("another-word-1")
    again = prepare(data, "--admin-password-file", str(password))
    assert again.returncode == 0, again.stderr
    assert files_of(data) == before
    assert accounts.check_password(settings, "admin", "maple-otter-seven-9"), "a person's password is theirs"


def test_a_new_secret_takes_the_old_ones_place(tmp_path: Path) -> None:
    data, secret = tmp_path / "d", tmp_path / "s"
    for text in ("one", "two"):
        secret.write_text(text)
        assert prepare(data, "--secret", f"oidc-secret={secret}").returncode == 0
        assert (data / "secrets" / "oidc-secret").read_text() == text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--secret", "../x=/etc/hostname"), "../x"),
        (("--secret", "portal-token=/etc/hostname"), "portal-token"),
        (("--secret", "x=/nowhere"), "/nowhere"),
        (("--admin-password-file", "/nowhere"), "/nowhere"),
    ],
)
def test_what_cannot_be_kept_is_named(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    done = prepare(tmp_path / "d", *words)
    assert (done.returncode, named in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


def test_a_bad_setting_of_the_pods_environment_is_named(tmp_path: Path) -> None:
    done = prepare(tmp_path / "d", DURE_TURN="later")
    assert (done.returncode, "turn" in done.stderr) == (1, True), done.stderr


def test_a_misspelt_setting_is_named_with_the_one_that_is_most_like_it(tmp_path: Path) -> None:
    """It would else be a default that nobody chose."""
    done = prepare(tmp_path / "d", DURE_IDLE_TIMEOUTS="60", DURE_SERVERS_PER_PERSONS="2")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "DURE_IDLE_TIMEOUTS, DURE_SERVERS_PER_PERSONS" in done.stderr
    assert "most like it: DURE_IDLE_TIMEOUT_S, DURE_SERVERS_PER_PERSON" in done.stderr
    assert not (tmp_path / "d").exists(), "nothing was begun"


def test_it_refuses_while_a_supervisor_holds_the_folder(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    with lock.held(settings):
        done = prepare(tmp_path)
    assert (done.returncode, "already up" in done.stderr) == (1, True), done.stderr
    assert not settings.folder.resolved.exists(), "nothing was begun"


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two services as containers of one pod run them, once both are there."""
    Settings(data=tmp_path).folder.create()
    code = "import signal; print('up', flush=True); signal.pause()"
    words = [sys.executable, "-m", "dure_hub.supervisor.beside", sys.executable, "-c", code]
    begun = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "DURE_DATA": str(tmp_path)})
        for _ in range(2)
    ]
    for one in begun:
        assert one.stdout is not None
        assert one.stdout.readline() == "up\n"
    yield begun
    for one in begun:
        one.kill()
        one.communicate()


def test_it_refuses_while_a_service_of_another_container_runs(
    tmp_path: Path, beside: list[subprocess.Popen[str]]
) -> None:
    """They share the lock, whose holder the kernel knows across containers."""
    assert "already up" in prepare(tmp_path).stderr
    beside[0].send_signal(signal.SIGKILL)
    beside[0].wait(30)
    assert "already up" in prepare(tmp_path).stderr, "the other one runs"
    beside[1].send_signal(signal.SIGKILL)
    beside[1].wait(30)
    done = prepare(tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["hub_port"] == 28081


def test_a_service_that_comes_while_it_is_prepared_waits(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.folder.create()
    words = [sys.executable, "-m", "dure_hub.supervisor.beside", "echo", "up"]
    with lock.held(settings):
        service = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={**os.environ, "DURE_DATA": str(tmp_path)}
        )
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait(2)
    said, _ = service.communicate(timeout=30)
    assert said == "up\n"


def test_it_is_among_the_words(tmp_path: Path) -> None:
    assert "--admin-password-file" in dure("prepare", "--help", data=tmp_path).stdout
