"""What a server is made from."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Image(BaseModel):
    """What a server is made from. On one machine that is a Python with JupyterLab in it, or a command.

    Without either it is the portal's own. On a cluster it is a `container` image, without one `server_image`, and
    may have a `command`. An empty title is the name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9](?:[._-]?[a-z0-9])*$", max_length=60)
    title: str = Field("", max_length=100)
    python: Path | None = None
    command: list[str] = []
    container: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> Image:
        if self.python is not None and self.command:
            raise PydanticCustomError("two_ways", "an image has a python or a command, and not both")
        return self
