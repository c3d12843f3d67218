"""Code and data as one zip."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from dure import snapshot
from dure.errors import Conflict
from dure.sdk_errors import MissingFile, SnapshotTooLarge
from dure.snapshot import collect, git_commit, local_imports, pack


def write(folder: Path, *names: str) -> Path:
    """Files that hold their own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_the_same_files_give_the_same_digest(tmp_path: Path) -> None:
    files = collect(write(tmp_path, "b.csv", "a/x.txt"), ["b.csv", "a"])
    with pack(files, {"entry.py": "pass"}) as first:
        names = zipfile.ZipFile(first.file).namelist()
    os.utime(tmp_path / "b.csv", (1, 1))
    with pack(dict(reversed(files.items())), {"entry.py": "pass"}) as second:
        pass
    assert first.digest == second.digest
    assert names == ["a/x.txt", "b.csv", "entry.py"]
    assert not first.file.exists()
    (tmp_path / "b.csv").write_text("other")
    with pack(files, {"entry.py": "pass"}) as third:
        assert third.digest != first.digest


def test_folders_are_taken_without_caches_and_environments(tmp_path: Path) -> None:
    write(
        tmp_path,
        "data/a.csv",
        "data/__pycache__/a.pyc",
        "data/.venv/x",
        "data/.git/x",
        "data/.ipynb_checkpoints/a",
        ".dure/python/bin/python",
    )
    assert set(collect(tmp_path, ["data"])) == {"data/a.csv"}
    assert set(collect(tmp_path, ["."])) == {"data/a.csv"}
    assert set(collect(tmp_path, [tmp_path / "data"])) == {"data/a.csv"}


def test_what_lies_elsewhere_keeps_its_last_name(tmp_path: Path) -> None:
    here, there = write(tmp_path / "here", "a.csv"), write(tmp_path / "there", "b.csv", "a.csv")
    assert set(collect(here, ["../there/b.csv"])) == {"b.csv"}
    with pytest.raises(Conflict, match=r"a\.csv"):
        collect(here, ["a.csv", there / "a.csv"])


def test_a_link_goes_under_the_name_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = write(tmp_path / "here", "real_v3.csv"), write(tmp_path / "there", "big/a.csv", "home.csv")
    (here / "train.csv").symlink_to("real_v3.csv")
    (here / "data").symlink_to(there / "big")
    (tmp_path / "way").symlink_to(here)
    monkeypatch.setenv("HOME", str(there))
    assert {name: file.read_text() for name, file in collect(here, ["train.csv"]).items()} == {
        "train.csv": "real_v3.csv"
    }
    assert set(collect(here, ["data"])) == set(collect(here, ["data/a.csv"])) == {"data/a.csv"}
    assert set(collect(here, ["~/home.csv"])) == {"home.csv"}
    assert set(collect(here, [tmp_path / "way" / "train.csv"])) == {"train.csv"}


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    here = write(tmp_path / "here", "a.csv", "sub/b.csv")
    write(tmp_path, "secret")
    (here / "link").symlink_to(tmp_path / "secret")
    for entry in ("../secret", "sub/../../secret", "link", tmp_path / "secret", "sub/../a.csv", "..", "sub/.."):
        for name in collect(here, [entry]):
            assert not Path(name).is_absolute()
            assert ".." not in Path(name).parts


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"iris\.csv"):
        collect(tmp_path, ["iris.csv"])


def test_too_much_is_refused_before_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LIMIT_MB", 1)
    (tmp_path / "big.bin").write_bytes(b"0" * (2 << 20))
    with pytest.raises(SnapshotTooLarge, match=r"2 MiB.*big\.bin"), pack({"big.bin": tmp_path / "big.bin"}):
        pass


def test_modules_beside_a_file_are_found_with_those_they_import(tmp_path: Path) -> None:
    write(tmp_path, "pkg/__init__.py", "other.py")
    (tmp_path / "train.py").write_text("import os, helper\nfrom pkg.deep import x\n")
    (tmp_path / "helper.py").write_text("import third\nimport train\n")
    (tmp_path / "third.py").write_text("not python (\n")
    (tmp_path / "pkg" / "deep.py").write_text("x = 1\n")
    found = {path.name for path in local_imports(tmp_path / "train.py")}
    assert found == {"helper.py", "third.py", "pkg"}


def test_a_commit_counts_only_in_a_clean_work_tree(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    write(tmp_path, "new.py")
    assert git_commit(tmp_path) is None
