"""Uploads: whole or not at all, and never outside of their folder."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dure.errors import NotFound
from dure_hub.backends.embedded import FolderArtifacts
from dure_hub.operations import snapshots as module
from dure_hub.operations.errors import BadSnapshot, DiskFull, SnapshotTooLarge
from dure_hub.operations.snapshots import Snapshots
from dure_hub.settings import Settings


@pytest.fixture
def kept(tmp_path: Path) -> Snapshots:
    settings = Settings(data=tmp_path, snapshot_limit_mb=1)
    settings.folder.create()
    return Snapshots(settings, FolderArtifacts(settings))


def pack(members: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1000):
        yield data[at : at + 1000]


async def put(kept: Snapshots, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    await kept.put(digest, pieces(data))
    return digest


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_what_is_sent_comes_back(kept: Snapshots, tmp_path: Path) -> None:
    digest = await put(kept, pack({"train.py": b"print(1)", "data/한글.csv": b"a,b"}))
    assert kept.has(digest)
    assert kept.path(digest).stat().st_mode & 0o777 == 0o600
    await put(kept, pack({"train.py": b"print(1)", "data/한글.csv": b"a,b"}))
    await kept.unpack(digest, tmp_path / "code")
    assert files(tmp_path / "code") == ["data", "data/한글.csv", "train.py"]
    assert (tmp_path / "code/train.py").read_bytes() == b"print(1)"


@pytest.mark.parametrize(
    ("data", "digest", "error"),
    [
        (b"PK something else", "0" * 64, BadSnapshot),
        (b"no zip", hashlib.sha256(b"no zip").hexdigest(), BadSnapshot),
        (b"x" * (1 << 20) + b"x", "0" * 64, SnapshotTooLarge),
    ],
)
async def test_what_is_wrong_leaves_nothing(
    kept: Snapshots, tmp_path: Path, data: bytes, digest: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await kept.put(digest, pieces(data))
    assert not kept.has(digest)
    folder = Settings(data=tmp_path).folder
    assert files(folder.artifacts) == files(folder.uploads) == []


async def test_an_upload_that_might_fill_the_disk_is_not_begun(kept: Snapshots, tmp_path: Path) -> None:
    there = pack({"train.py": b"print(1)"})
    await put(kept, there)
    free_mb = shutil.disk_usage(tmp_path).free >> 20
    full = Settings(data=tmp_path, snapshot_limit_mb=free_mb + 1000, disk_minimum_mb=1)
    snapshots = Snapshots(full, FolderArtifacts(full))
    await put(snapshots, there)  # what is here costs nothing
    with pytest.raises(DiskFull) as refused:
        await put(snapshots, pack({"train.py": b"print(2)"}))
    error = refused.value.to_wire("ko")["error"]
    assert (refused.value.status, error["facts"]["needed_mb"]) == (507, free_mb + 1001)
    assert "디스크" in error["message"]
    assert files(full.folder.uploads) == []


async def test_a_digest_is_no_path(kept: Snapshots) -> None:
    for digest in ("../../secrets/portal-token", "A" * 64, ""):
        with pytest.raises(BadSnapshot):
            kept.has(digest)


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a/../../out", "C:/x", "..\\out", link()])
async def test_nothing_is_written_outside(kept: Snapshots, tmp_path: Path, name: str | zipfile.ZipInfo) -> None:
    digest = await put(kept, pack({"fine": b"", name: b"/etc/passwd"}))
    with pytest.raises(BadSnapshot):
        await kept.unpack(digest, tmp_path / "deep" / "code")
    assert not (tmp_path / "deep").exists()
    assert not (tmp_path / "out").exists()


async def test_a_bomb_does_not_go_off(kept: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = await put(kept, pack({"zeros": bytes(9 << 20)}))
    with pytest.raises(SnapshotTooLarge):
        await kept.unpack(digest, tmp_path / "code")
    monkeypatch.setattr(module, "_FILES", 3)
    digest = await put(kept, pack({str(n): b"" for n in range(4)}))
    with pytest.raises(SnapshotTooLarge):
        await kept.unpack(digest, tmp_path / "code")
    assert not (tmp_path / "code").exists()


async def test_one_name_as_file_and_folder_is_refused(kept: Snapshots, tmp_path: Path) -> None:
    digest = await put(kept, pack({"a": b"", "a/b": b""}))
    with pytest.raises(BadSnapshot):
        await kept.unpack(digest, tmp_path / "code")


async def test_a_missing_snapshot_is_not_found(kept: Snapshots, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await kept.unpack("0" * 64, tmp_path / "code")
