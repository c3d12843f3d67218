"""`dure dataplane bootstrap` writes what an Envoy starts from, and says what cannot be one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dure.cli import main

GOOD = ["--xds", "portal:8100", "--listen", "0.0.0.0:8000"]


@pytest.fixture
def token(tmp_path: Path) -> list[str]:
    (tmp_path / "token").write_text("a token\n")
    return ["dataplane", "bootstrap", "--token-file", str(tmp_path / "token"), "--folder", str(tmp_path / "own")]


def test_it_is_written_of_mode_600_and_its_place_is_said(
    token: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*token, *GOOD, "--node", "pod-1", "--statistics", ""]) == 0
    said = Path(capsys.readouterr().out.strip())
    assert (said, said.stat().st_mode & 0o777) == (tmp_path / "own" / "bootstrap.json", 0o600)
    made = json.loads(said.read_text())
    assert made["node"]["id"].startswith("pod-1-")
    assert made["node"]["metadata"] == {"token": "a token", "statistics": 0}


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (["--xds", "portal"], "HOST:PORT"),
        ([*GOOD, "--listen", "portal:80"], "its host is an address"),
        ([*GOOD, "--token-file", "/nowhere"], "it is a file that can be read"),
        ([*GOOD, "--token-file", "/dev/null"], "one line of ASCII"),
        ([*GOOD, "--tls-cert", "/a/tls.crt"], "both, or neither"),
        ([*GOOD, "--tls-cert", "/a/tls.crt", "--tls-key", "/b/tls.key"], "the folder of tls_cert"),
        ([*GOOD, "--tls-cert", "/a/tls.crt", "--tls-key", "/a/tls.key"], "there is such a file"),
        ([*GOOD, "--folder", "/" + "d" * 110], "at most 107 bytes"),
    ],
)
def test_what_cannot_be_one_is_told_with_its_rule(
    token: list[str], wrong: list[str], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*token, *wrong]) == 1
    assert rule in capsys.readouterr().err


def test_no_token_is_written_where_others_may_write(
    token: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o777)
    assert main([*token, *GOOD]) == 1
    assert "a folder of yours alone" in capsys.readouterr().err
    assert list((tmp_path / "own").iterdir()) == []
