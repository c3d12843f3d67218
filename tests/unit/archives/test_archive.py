"""What is read from an archive is believed only as far as it was checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from dure_hub.archives import CONTENTS, MANIFEST
from dure_hub.archives.errors import ArchiveDamaged, ArchiveNewer
from dure_hub.archives.reading import reading
from dure_hub.archives.writing import writing


def made(file: Path, members: list[tarfile.TarInfo | tuple[str, bytes]], links: Mapping[str, str] = {}) -> Path:
    """An archive of these, with a true list of contents."""
    manifest = json.dumps({"format": 1, "program": "0.1.0"}).encode()
    whole = [(MANIFEST, manifest), *members]
    files = {
        name: (len(text), hashlib.sha256(text).hexdigest())
        for name, text in (one for one in whole if isinstance(one, tuple))
    }
    contents = json.dumps({"files": files, "links": dict(links)}).encode()
    with gzip.open(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for one in [*whole, (CONTENTS, contents)]:
            if isinstance(one, tarfile.TarInfo):
                tar.addfile(one)
            else:
                info = tarfile.TarInfo(one[0])
                info.size = len(one[1])
                tar.addfile(info, io.BytesIO(one[1]))
    return file


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpack(file: Path, into: Path) -> None:
    into.mkdir()
    with reading(file) as archive:
        archive.unpack(into, lambda size: None)


HOSTILE = {
    "an absolute path": ("/etc/passwd", b"x"),
    "a way out": ("data/../../outside", b"x"),
    "a name outside of the known ones": ("outside", b"x"),
    "a symbolic link": link("data/users/ana/link", "/etc", tarfile.SYMTYPE),
    "a hard link": link("data/users/ana/link", "/etc/passwd", tarfile.LNKTYPE),
    "a device": link("data/null", "", tarfile.CHRTYPE),
    "a pipe": link("data/pipe", "", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_does_not_belong_into_an_archive_is_refused(tmp_path: Path, what: str) -> None:
    file = made(tmp_path / "a", [HOSTILE[what]])  # type: ignore[list-item]
    with pytest.raises(ArchiveDamaged):
        unpack(file, tmp_path / "into")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "into"]
    assert not [path for path in (tmp_path / "into").rglob("*") if not path.is_dir()]


def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path / "a", [("data/x", b"one"), ("data/x", b"two")])
    with pytest.raises(FileExistsError):
        unpack(file, tmp_path / "into")


def test_no_link_is_made_behind_another(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    links = {"data/a": str(tmp_path / "outside"), "data/a/b": "/etc"}
    with pytest.raises(ArchiveDamaged, match="behind a link"):
        unpack(made(tmp_path / "a", [("data/x", b"")], links), tmp_path / "into")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["../a", "/a", "data/../../a"])
def test_a_link_has_its_place_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveDamaged):
        unpack(made(tmp_path / "a", [("data/x", b"")], {name: "/etc"}), tmp_path / "into")


def test_one_that_is_cut_anywhere_is_known_as_such(tmp_path: Path) -> None:
    whole = made(tmp_path / "a", [("data/x", bytes(range(256)) * 400), ("data/y", b"end")]).read_bytes()
    for number, part in enumerate(range(1, 20)):
        cut = tmp_path / f"cut-{number}"
        cut.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(ArchiveDamaged):
            unpack(cut, tmp_path / f"into-{number}")


def test_the_last_byte_counts_before_anything_is_put_in_place(tmp_path: Path) -> None:
    whole = made(tmp_path / "a", [("data/x", random.Random(0).randbytes(3 * 2**20))]).read_bytes()
    for number, broken in enumerate((whole[:-1], whole[:-8], whole[:-1] + b"x", whole[:-8] + b"wrongcrc")):
        (tmp_path / "b").write_bytes(broken)
        (tmp_path / f"into-{number}").mkdir()
        done: list[str] = []
        with pytest.raises(ArchiveDamaged), reading(tmp_path / "b") as archive:
            done.extend(archive.unpack(tmp_path / f"into-{number}", lambda size: None))
        assert not done, number


def test_a_changed_byte_is_found_even_where_gzip_fits_again(tmp_path: Path) -> None:
    file = made(tmp_path / "a", [("data/x", b"the right words")])
    tar = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(tar.replace(b"the right words", b"the wrong words")))
    with pytest.raises(ArchiveDamaged, match="data/x is not as it was written"):
        unpack(file, tmp_path / "into")


def test_a_file_that_is_missing_is_found(tmp_path: Path) -> None:
    info = tarfile.TarInfo("data/folder")
    info.type = tarfile.DIRTYPE
    file = made(tmp_path / "a", [("data/x", b"x" * 512), info])
    tar = gzip.decompress(file.read_bytes())
    at = tar.index(b"data/x")
    file.write_bytes(gzip.compress(tar[:at] + tar[at + 1024 :]))  # its header and its one block
    with pytest.raises(ArchiveDamaged, match="data/x is not as it was written"):
        unpack(file, tmp_path / "into")


# Of one moment: a test's name is made of these bytes, and must be the same in every process.
@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"no tar" * 500, mtime=0), gzip.compress(b"", mtime=0)],
    ids=["nothing", "no gzip", "no tar", "empty"],
)
def test_something_else_is_no_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArchiveDamaged, match="is no whole backup of a portal"):
        unpack(tmp_path / "a", tmp_path / "into")


def test_a_newer_form_is_refused_with_the_versions(tmp_path: Path) -> None:
    with writing(tmp_path / "a", lambda size: None) as out:
        out.text(MANIFEST, {"format": 2, "program": "9.9.9"})
    with pytest.raises(ArchiveNewer, match=r"Dure 9\.9\.9 in a form \(2\) that this version \(0\.1\.0\)"):
        unpack(tmp_path / "a", tmp_path / "into")
