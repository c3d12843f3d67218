"""The `dure` command as people type it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dure.cli import make_parser
from dure_hub.commands import doctor
from dure_hub.settings import Settings
from dure_hub.settings.shared import SharedFolder
from dure_hub.supervisor import lock


def dure(
    *words: str, data: Path, language: str = "en", feed: str | None = None, port: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it on a data folder."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    if port is not None:
        known["DURE_PORT"] = str(port)
    return subprocess.run(
        [sys.executable, "-m", "dure.cli", *words],
        env={**known, "DURE_DATA": str(data), "DURE_LANGUAGE": language},
        capture_output=True,
        text=True,
        timeout=60,
        input=feed,
    )


@pytest.mark.parametrize(
    "word",
    ["up", "prepare", "down", "status", "doctor", "portal-logs", "user", "token", "backup", "restore", "upgrade"],
)
def test_every_word_explains_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([word, "--help"])
    assert ended.value.code == 0
    assert word in capsys.readouterr().out


def test_without_a_word_it_lists_them(tmp_path: Path) -> None:
    done = dure(data=tmp_path)
    assert done.returncode == 2
    assert "doctor" in done.stdout


def test_the_list_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from dure.cli import make_parser; make_parser();"
        "print([m for m in ('sqlalchemy', 'jupyterhub', 'mlflow', 'fastapi', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_command_before_the_first_up_says_what_to_do(tmp_path: Path) -> None:
    done = dure("user", "list", data=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("No portal has been started in")
    assert "dure up" in done.stderr
    korean = dure("user", "list", data=tmp_path, language="ko")
    assert "시작하세요" in korean.stderr


def test_status_of_a_portal_that_never_ran_is_3(tmp_path: Path) -> None:
    assert dure("status", data=tmp_path).returncode == 3
    done = dure("status", "--json", data=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (3, {"up": False, "services": {}})


def test_doctor_needs_no_portal_and_says_what_is_limited_and_why(tmp_path: Path) -> None:
    done = dure("doctor", "--json", data=tmp_path / "none")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    topics = {finding["topic"] for finding in found["machine"]}
    assert {"gpu", "cpu", "memory", "disk", "port", "isolation", "python", "torch"} <= topics
    assert all(finding["text"] for finding in found["machine"] + found["limits"])
    assert "user_isolation" in {finding["topic"] for finding in found["limits"]}
    assert not (tmp_path / "none").exists()
    for language, sentence in (("en", "What this machine has"), ("ko", "이 머신의 구성")):
        assert sentence in dure("doctor", data=tmp_path, language=language).stdout


@pytest.mark.parametrize("base_url", ["", "/gpus"])
def test_doctor_knows_the_portals_own_port(tmp_path: Path, base_url: str) -> None:
    settings = Settings(data=tmp_path, base_url=base_url)
    settings.folder.create()
    with socket.create_server(("127.0.0.1", 0)) as taken, lock.held(settings):
        settings = settings.model_copy(update={"port": taken.getsockname()[1]})
        lock.write_holder(settings.folder.run, settings.listens_at, "up")
        done = dure("doctor", "--json", data=tmp_path, port=settings.port)
    (port,) = (one for one in json.loads(done.stdout)["machine"] if one["topic"] == "port")
    assert (port["state"], str(settings.port) in port["text"]) == ("ok", True), port


@pytest.mark.parametrize(("text", "named"), [("colour: red\n", "colour"), ("port: [\n", "its text")])
def test_a_bad_setting_is_an_error_with_its_name(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "dure.yaml").write_text(text)
    done = dure("up", data=tmp_path)
    assert done.returncode == 1
    assert named in done.stderr
    assert "dure.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_that_a_fleet_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "dure.yaml").write_text("simulated_fleet: campus\n")
    said = dure("doctor", data=tmp_path).stdout
    assert "simulated (campus): 24 GPUs on 6 nodes" in said
    assert "시뮬레이션" in dure("doctor", data=tmp_path, language="ko").stdout


def test_a_fleet_file_that_is_wrong_is_named_by_line_and_rule(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("nodes:\n  - {name: a, cpu_cores: none, memory_gb: 1}\n")
    (tmp_path / "dure.yaml").write_text(f"simulated_fleet: {tmp_path / 'mine.yaml'}\n")
    done = dure("doctor", data=tmp_path)
    assert done.returncode == 1
    assert "line 2: none cannot be" in done.stderr


def test_doctor_names_a_rate_card_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text("- {gpu: rtx-4090, rate: many, since: 2026-01-01}\n")
    told = dure("doctor", "--json", data=tmp_path)
    assert told.returncode == 1
    (found,) = [one for one in json.loads(told.stdout)["machine"] if one["topic"] == "rates"]
    assert (found["state"], "line 1" in found["text"]) == ("bad", True)
    assert "1번째 줄" in dure("doctor", data=tmp_path, language="ko").stdout
    (tmp_path / "rates.yaml").unlink()
    assert "rates" not in dure("doctor", "--json", data=tmp_path).stdout


@pytest.mark.parametrize(("language", "words"), [("en", "a wildcard"), ("ko", "와일드카드")])
def test_doctor_names_the_records_that_hosts_of_people_need(tmp_path: Path, language: str, words: str) -> None:
    (tmp_path / "dure.yaml").write_text("subdomain_host: http://dure.invalid\n")  # a name that is never found
    said = dure("doctor", data=tmp_path, language=language).stdout
    assert "*.dure.invalid" in said
    assert words in said
    (tmp_path / "dure.yaml").unlink()
    assert "hosts" not in dure("doctor", data=tmp_path).stdout


def test_doctor_says_of_each_shared_folder_what_is_not_enforced(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    folders = [
        {"name": "read", "path": str(tmp_path / "sets")},
        {"name": "away", "path": str(tmp_path / "none")},
        {"name": "write", "path": "/usr", "write": True},
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dure.yaml").write_text(json.dumps({"shared_folders": folders, "system_accounts": "off"}))
    told = dure("doctor", "--json", data=tmp_path / "data")
    assert told.returncode == 1
    found = [one for one in json.loads(told.stdout)["machine"] if one["topic"] == "shared"]
    assert [one["state"] for one in found] == ["limited", "bad", "ok"]
    assert "nothing keeps people" in found[0]["text"]
    assert "away" in found[1]["text"]
    assert "읽기 전용" in dure("doctor", data=tmp_path / "data", language="ko").stdout


def test_doctor_says_where_new_files_stay_their_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    folders = [
        SharedFolder(name=name, path=Path(path), write=True)
        for name, path in (("none", "/proc/sys"), ("some", "/usr"))
    ]
    settings = Settings(data=tmp_path, shared_folders=folders, system_accounts="on")
    found = [(one.state, one.text) for one in doctor._shared(settings)]
    assert found == [
        ("limited", "none: the file system keeps no ACLs, so new files there are their owner's alone"),
        ("ok", "some: /usr"),
    ]


def test_quotas_can_be_brought_to_kueue_only_where_a_portal_has_been(tmp_path: Path) -> None:
    assert "--apply" in dure("kueue", "--help", data=tmp_path).stdout
    done = dure("kueue", data=tmp_path / "none")
    assert done.returncode
    assert "dure up" in done.stdout + done.stderr
