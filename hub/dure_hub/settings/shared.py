"""Folders that people find in theirs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError


class SharedFolder(BaseModel):
    """A folder of this machine, at `~/shared/<name>` of everybody, or of the people of some teams."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9](?:[_-]?[a-z0-9])*$", max_length=16)
    path: Path
    write: bool = False
    teams: list[str] = []

    @field_validator("path")
    @classmethod
    def _whole(cls, path: Path) -> Path:
        """What a relative one means depends on where a process was started."""
        if not path.is_absolute():
            raise PydanticCustomError("not_absolute", "the path of a shared folder begins with /")
        return path


class Sharing(BaseModel):
    """Folders in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shared_folders: list[SharedFolder] = Field(
        [],
        description="Folders that people find as `~/shared/<name>`: each has a `name` and a `path`, and may have "
        "`write: true` and a list of `teams`; without it everybody has it.",
    )

    @field_validator("shared_folders")
    @classmethod
    def _unlike(cls, folders: list[SharedFolder]) -> list[SharedFolder]:
        """A name is one place, and a place is given in one way."""
        for what in ("name", "path"):
            if len({getattr(one, what) for one in folders}) < len(folders):
                raise PydanticCustomError(
                    "same_folders", "every shared folder has a {what} of its own", {"what": what}
                )
        return folders
