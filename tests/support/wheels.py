"""Wheels of a few lines, as pip installs them, and what a folder of packages looked like before."""

from __future__ import annotations

import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, code: str = "") -> Path:
    """A package of one module; `code` is run when it is imported. It knows its `VERSION`."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    texts = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n{code}",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*texts, f"{about}/RECORD"))
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
    return file


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file that was installed there; what Python compiles by itself aside."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts
    }
