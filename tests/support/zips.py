"""Snapshots for tests: the same files are always the same bytes, so the same digest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping


def zipped(files: Mapping[str, str]) -> tuple[str, bytes]:
    """A snapshot of these files: its digest and its bytes.

    Every member carries the same date: by default a ZIP carries the time of day, so that a second call a
    moment later would be another snapshot.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    content = packed.getvalue()
    return hashlib.sha256(content).hexdigest(), content
