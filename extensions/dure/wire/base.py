"""The two kinds of wire model, and the field types they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from dure.wire.ids import ULID_PATTERN

NAME_PATTERN = r"^[a-z](?:-?[a-z0-9])*$"
"""Names of things people name: what DNS labels, URLs and JupyterHub's named servers all accept."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=30)]
Ulid = Annotated[str, Field(pattern=ULID_PATTERN)]
Scalar = str | int | float | bool | None
"""A value of a training parameter."""
Words = Annotated[str, Field(max_length=5000)]
"""Text of a bounded length; half a surrogate pair, which no answer could carry, is refused with it."""
Value = Words | int | float | bool | None
"""A value of a training parameter as it is asked for."""
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=100)]
"""What a keyword argument or a `--name` can be called."""
TeamName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=100)]
"""A team is a group of JupyterHub's, whatever that is called."""
TagName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./: -]+$", max_length=250)]
"""What MLflow takes as the name of a tag."""


class Answer(BaseModel):
    """Something the portal says. A newer portal may say more, so unknown fields are kept and ignored."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Ask(BaseModel):
    """Something a client asks for. An unknown field is a mistake and is refused, and so is text with a NUL in it,
    which PostgreSQL keeps in no column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, asked: Any) -> Any:
        if _has_nul(asked):
            raise PydanticCustomError("nul", "no text in it has the character NUL (U+0000)")
        return asked


def _has_nul(value: Any) -> bool:
    left = [value]  # not by recursion: what is nested too deep is refused by name later
    while left:
        one = left.pop()
        if isinstance(one, str) and "\0" in one:
            return True
        if isinstance(one, Mapping):
            left += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            left += one
    return False
