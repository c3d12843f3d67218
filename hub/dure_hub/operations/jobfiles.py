"""What a job has on disk, in `jobs/<id>/`."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dure_hub.operations.workfiles import WorkFolder
from dure_hub.settings import Settings


class JobFolder(WorkFolder):
    """The places of one job."""

    def __init__(self, settings: Settings, job_id: str) -> None:
        super().__init__(settings.folder.jobs / job_id)
        self.run_open = self.path / "run-open"
        """There while MLflow has yet to hear how the run ended."""

    def has_checkpoint(self) -> bool:
        """Whether it has written something to go on from."""
        folder = self.outputs / "checkpoints"
        return folder.is_dir() and any(folder.glob("*.pt"))


def has_entry(snapshot: Path, entry: str) -> bool:
    """Whether the file of `entry` (`file.py` or `file.py:function`) is in a snapshot."""
    with zipfile.ZipFile(snapshot) as archive:
        return entry.partition(":")[0].removeprefix("./") in archive.namelist()
