"""What the repository holds for JupyterLab's pages is what its sources make, byte for byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools import lab

AWAY = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT")
"""How npm says that it did not reach the registry."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.timeout(600)
def test_the_bundle_is_what_the_sources_make(tmp_path: Path) -> None:
    work, made = tmp_path / "work", tmp_path / "made"
    work.mkdir()
    try:
        lab.build(work, made)
    except lab.NpmFailed as error:
        if AWAY.search(str(error)):
            pytest.skip("npm's registry cannot be reached from here, so nothing was rebuilt or compared")
        raise
    assert files(made) == files(lab.BUILT), "run `make lab`"


def test_versions_are_exact_and_no_place_is_written() -> None:
    wanted = json.loads((lab.SOURCE / "package.json").read_text())
    assert {"esbuild", "typescript"} <= set(wanted["devDependencies"])
    for name, version in wanted["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
    locked = json.loads((lab.SOURCE / "package-lock.json").read_text())["packages"]
    for name, one in locked.items():
        assert "resolved" not in one, name
        assert not name or one["integrity"].startswith("sha512-"), name


def test_lab_is_told_of_a_file_that_is_there_and_named_after_its_content() -> None:
    about = json.loads((lab.BUILT / "package.json").read_text())
    load = about["jupyterlab"]["_build"]["load"]
    assert set(files(lab.BUILT)) == {"package.json", load}
    assert re.fullmatch(r"static/remoteEntry\.[0-9a-f]{20}\.js", load)
    assert about["version"] == json.loads((lab.SOURCE / "package.json").read_text())["version"]
