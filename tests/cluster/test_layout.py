"""Built images with their layers kept once. No cluster is needed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.layout import REF, Layout

pytestmark = pytest.mark.anywhere

CALLED = "localhost/dure/portal:1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """With two images on one layer, as Buildah leaves them; both are noted."""
    made = Layout(tmp_path)
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    images = [put_image(made, ref, "shared", ref) for ref in ("portal-1", "hub-1")]
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": images}))
    for ref in ("portal-1", "hub-1"):
        made.add(ref)
    return made


def put(layout: Layout, content: bytes) -> dict[str, Any]:
    """A part of an image."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    layout.file(digest).write_bytes(content)
    return {"digest": digest, "size": len(content)}


def put_image(layout: Layout, ref: str, *layers: str) -> dict[str, Any]:
    """An image of these layers."""
    config = put(layout, json.dumps({"config": {"User": ref}}).encode())
    made = [put(layout, gzip.compress(layer.encode(), mtime=0)) for layer in layers]
    manifest = put(layout, json.dumps({"config": config, "layers": made}).encode())
    return {**manifest, "annotations": {REF: ref}}


def archive(layout: Layout, ref: str, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """What is in the archive of an image."""
    out = BytesIO()
    layout.write(ref, CALLED, out, without)
    with tarfile.open(fileobj=BytesIO(out.getvalue())) as files:
        return {one.name: (files.extractfile(one) or BytesIO()).read() for one in files}


def test_an_archive_is_whole_for_docker_and_for_containerd(layout: Layout) -> None:
    held = archive(layout, "portal-1")
    (docker,) = json.loads(held["manifest.json"])
    assert docker["RepoTags"] == [CALLED]
    assert [gzip.decompress(held[one]) for one in docker["Layers"]] == [b"shared", b"portal-1"]
    assert json.loads(held[docker["Config"]]) == {"config": {"User": "portal-1"}}
    (described,) = json.loads(held["index.json"])["manifests"]
    assert described["annotations"] == {"io.containerd.image.name": CALLED}
    assert held["blobs/" + described["digest"].replace(":", "/")]


def test_a_layer_that_is_there_by_another_image_is_left_out(layout: Layout) -> None:
    shared, own = layout.layers("portal-1")
    assert shared == layout.layers("hub-1")[0]
    held = archive(layout, "portal-1", (shared,))
    assert f"blobs/{shared.replace(':', '/')}" not in held
    assert f"blobs/{own.replace(':', '/')}" in held


def test_what_an_image_alone_was_made_of_goes_with_its_note(layout: Layout) -> None:
    shared, own = layout.layers("portal-1")
    layout.note("portal-1").unlink()
    layout.tidy()
    assert layout.file(shared).exists()
    assert not layout.file(own).exists()
    assert layout.config("hub-1") == {"config": {"User": "hub-1"}}
    assert len(json.loads((layout.folder / "index.json").read_text())["manifests"]) == 1


def test_notes_are_an_images_own_and_the_last_used_comes_first(layout: Layout) -> None:
    for age, ref in enumerate(("portal-1", "portal-2", "portal-other-1")):
        layout.note(ref).write_text("{}")
        os.utime(layout.note(ref), (0, 1000 - age))
    assert [note.stem for note in layout.notes("portal")] == ["portal-1", "portal-2"]
