"""The systemd unit: what it says, that systemd understands it, and that no path breaks it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dure_hub.commands.service import restarts
from dure_hub.supervisor.notify import notify
from dure_hub.supervisor.unit import Unit, make_unit

PYTHON = Path(sys.executable)
OWN = Unit("dure", PYTHON, Path("/srv/dure"), 130.5)
SYSTEM = Unit("dure", PYTHON, Path("/srv/dure"), 130.5, "ana")
HOSTILE = Path("/srv/a b%h$HOME\"q\\n'd\nUser=root")
DURE = f'"{PYTHON}" "-P" "-m" "dure.cli"'


def settings(text: str) -> dict[str, dict[str, list[str]]]:
    """Section, name, values; fails on any other line."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            assert name.isalnum(), line
            section.setdefault(name, []).append(value)
    return found


def test_what_a_unit_of_ones_own_says() -> None:
    assert settings(make_unit(OWN)) == {
        "Unit": {
            "Description": ["Dure portal of /srv/dure"],
            "StartLimitIntervalSec": ["0"],
        },
        "Service": {
            "Type": ["notify"],
            "NotifyAccess": ["main"],
            "Environment": ['"DURE_DATA=/srv/dure"'],
            "WorkingDirectory": ["/"],
            "UMask": ["0077"],
            "ExecStart": [f'{DURE} "up" "--data" "/srv/dure"'],
            "ExecStop": [f'{DURE} "service" "stop" "--data" "/srv/dure" "--name" "dure" "--user"'],
            "KillMode": ["process"],
            "KillSignal": ["SIGUSR1"],
            "Restart": ["on-failure"],
            "RestartSec": ["5"],
            "TimeoutStartSec": ["900"],
            "TimeoutStopSec": ["251"],
            "OOMPolicy": ["continue"],
            "TasksMax": ["infinity"],
            "LimitNOFILE": ["65536"],
        },
        "Install": {"WantedBy": ["default.target"]},
    }


def test_a_unit_of_the_machine_runs_as_the_folders_owner_once_the_network_is_there() -> None:
    own, found = settings(make_unit(OWN)), settings(make_unit(SYSTEM))
    assert found["Service"].pop("User") == ["ana"]
    assert found["Unit"].pop("After") == found["Unit"].pop("Wants") == ["network-online.target"]
    assert found["Install"] == {"WantedBy": ["multi-user.target"]}
    assert found["Service"].pop("ExecStop") == [own["Service"].pop("ExecStop")[0].replace("--user", "--system")]
    assert (found["Service"], found["Unit"]) == (own["Service"], own["Unit"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("data", [Path("/srv/dure"), HOSTILE])
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_itself_has_nothing_to_say_against_it(tmp_path: Path, data: Path, user: str | None) -> None:
    file = tmp_path / "dure.service"
    file.write_text(make_unit(Unit("dure", PYTHON, data, 60, user)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(["--user"] if user is None else []), str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_path_says_anything_of_its_own() -> None:
    found = settings(make_unit(Unit("dure", PYTHON, HOSTILE, 60, "ana")))
    assert found["Service"]["User"] == ["ana"]
    (start,) = found["Service"]["ExecStart"]
    assert start == f'{DURE} "up" "--data" ' + r'''"/srv/a b%%h$$HOME\"q\\n'd\nUser=root"'''


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ("123 dure.service restart running\n", True),
        ("123 dure.service stop running\n", False),
        ("123 other.service restart running\n124 dure.service stop waiting\n", False),
        ("No jobs running.\n", False),
        ("", False),  # systemd did not say: a stop is a stop
    ],
)
def test_a_restart_is_told_from_a_stop(jobs: str, expected: bool) -> None:
    assert restarts(OWN, jobs) is expected


def test_a_service_manager_that_waits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(address))
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        assert notify("READY=1")
        assert heard.recv(100) == b"READY=1"
    address.unlink()
    assert not notify("READY=1"), "it has gone"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not notify("READY=1")


def dure(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, without any of our own variables."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    return subprocess.run(
        [sys.executable, "-m", "dure.cli", "service", *words],
        env={**known, "DURE_LANGUAGE": "en", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


FAKE = """#!/bin/sh
echo "$0 $@" >> {log}
"""


def test_print_prints_and_writes_nothing(tmp_path: Path) -> None:
    done = dure("install", "--print", "--user", "--data", str(tmp_path / "d"), XDG_CONFIG_HOME=str(tmp_path / "c"))
    assert (done.returncode, done.stderr) == (0, "")
    assert settings(done.stdout)["Service"]["Environment"] == [f'"DURE_DATA={tmp_path / "d"}"']
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="this machine was booted with systemd")
def test_without_systemd_it_is_refused_and_the_unit_printed(tmp_path: Path) -> None:
    done = dure("install", "--user", "--data", str(tmp_path / "d"), XDG_CONFIG_HOME=str(tmp_path / "c"))
    assert done.returncode == 1
    assert "not booted with systemd" in done.stderr
    assert "dure up --detach" in done.stderr
    assert "ExecStart" in settings(done.stdout)["Service"]
    assert list(tmp_path.iterdir()) == []
    korean = dure("install", "--user", "--data", str(tmp_path / "d"), DURE_LANGUAGE="ko")
    assert "systemd로 부팅되지 않아" in korean.stderr


def test_a_name_that_systemd_would_not_take_is_refused(tmp_path: Path) -> None:
    done = dure("install", "--print", "--name", "../x", "--data", str(tmp_path / "d"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "../x" in done.stderr


INSTALL = """
import sys
from pathlib import Path
from dure.cli import main
from dure_hub.commands import service
service.BOOTED = Path("/")
sys.exit(main(["service", *sys.argv[1:]]))
"""


def test_install_and_uninstall_ask_systemd_in_order(tmp_path: Path) -> None:
    """With a systemctl that only writes down what it is asked: this machine may run no systemd."""
    programs, log, data = tmp_path / "bin", tmp_path / "asked", tmp_path / "d"
    programs.mkdir()
    for name in ("systemctl", "loginctl"):
        (programs / name).write_text(FAKE.format(log=log))
        (programs / name).chmod(0o755)
    unit = tmp_path / "c" / "systemd" / "user" / "dure.service"
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    variables = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "XDG_CONFIG_HOME": str(tmp_path / "c"),
        "DURE_LANGUAGE": "en",
    }

    def ask(*words: str, folder: Path = data) -> subprocess.CompletedProcess[str]:
        more = {"DURE_PORT": "8123", **variables}
        return subprocess.run(
            [sys.executable, "-c", INSTALL, *words, "--user", "--data", str(folder)],
            env={**known, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = ask("install")
    assert done.returncode == 0, done.stderr
    assert settings(unit.read_text())["Service"]["Environment"] == [f'"DURE_DATA={data}"']
    assert unit.stat().st_mode & 0o777 == 0o644
    assert "loginctl enable-linger" in done.stdout
    assert "DURE_PORT" in done.stdout, "the shell's variables are not the service's"
    other = ask("install", folder=tmp_path / "other")
    assert other.returncode == 1
    assert "--name dure-2" in other.stderr
    assert ask("uninstall").returncode == 0
    assert not unit.exists()
    assert "nothing to remove" in ask("uninstall").stdout
    asked = [line.split("/")[-1] for line in log.read_text().splitlines()]
    assert [line for line in asked if line.startswith("systemctl")] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now dure.service",
        "systemctl --user disable --now dure.service",
        "systemctl --user daemon-reload",
    ]
