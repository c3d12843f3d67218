"""What a job or an execution has on disk: its code, its outputs, its token, its log once it ended."""

from __future__ import annotations

import codecs
import os
import shutil
from pathlib import Path

from dure_hub.mlflowapi import PREFIX
from dure_hub.settings import Settings

_TAIL = 4096
_LAUNCHERS_OWN = "torch/distributed/elastic/"
"""In every line that torchrun logs: which process it ended and how, never what the code said."""


class WorkFolder:
    """The places of one job or execution. Making the object touches nothing; methods are quick and blocking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = self.path / "code"
        self.outputs = self.path / "outputs"
        self.home = self.path / "home"
        self.token = self.path / "token"
        self.log = self.path / "log"

    def create(self) -> None:
        """Make the folders that it finds."""
        for folder in (self.path, self.outputs, self.home):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def spare(self) -> Path:
        """An empty place to unpack the code into, beside its own; what a crash left there is removed."""
        spare = self.path / "code.new"
        shutil.rmtree(spare, ignore_errors=True)
        return spare

    def write_token(self, text: str) -> None:
        """Keep its own token, readable by its owner alone; whole or not at all."""
        write_private(self.token, text.encode())

    def tail(self, lines: int = 3) -> str:
        """The last lines that say something, for a reason; empty without a log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log.stat().st_size - _TAIL, 0))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return tail(text, lines)

    def piece(self, offset: int, limit: int) -> tuple[str, int, bool]:
        """Text from byte `offset`, where the next begins, whether that was all. No character is cut in two."""
        with self.log.open("rb") as file:
            size = self.log.stat().st_size
            file.seek(min(offset, size))
            content = file.read(limit)
        end = min(offset, size) + len(content)
        if end < size:
            content = whole_characters(content)
            end = min(offset, size) + len(content)
        return content.decode("utf-8", "replace"), end, end >= size


def tail(text: str, lines: int = 3) -> str:
    """The last lines in which the code says something, on one line."""
    said = [line.strip() for line in text.splitlines() if line.strip() and _LAUNCHERS_OWN not in line]
    return " / ".join(said[-lines:])[-200:]


def whole_characters(content: bytes) -> bytes:
    """Without the begun character at the end, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content)
    begun = decoder.getstate()[0]
    return content[: len(content) - len(begun)] if len(begun) < len(content) else content


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 600 that appears whole."""
    temporary = path.with_name(f"{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:  # noqa: PTH123
        out.write(content)
    temporary.replace(path)


def common_environment(settings: Settings, owner: str, folder: WorkFolder) -> dict[str, str]:
    """What every job and execution finds; of the portal's own only where programs and libraries are."""
    passed = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
        if name in os.environ
    }
    return {
        "LANG": "C.UTF-8",
        **passed,
        "HOME": str(folder.home),
        "LOGNAME": owner,
        "USER": owner,
        "PYTHONUNBUFFERED": "1",
        "DURE_URL": settings.front_url,
        "DURE_LANGUAGE": settings.language,
        "MLFLOW_TRACKING_URI": f"{settings.front_url}{PREFIX}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
