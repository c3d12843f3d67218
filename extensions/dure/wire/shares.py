"""What is shared with a colleague: a running server, or a copy of one notebook. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from dure.wire.base import Answer, Ask, Name

PersonName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ShareRequest(Ask):
    """Let a colleague into a server. Sent twice it is one share."""

    person: PersonName = Field(alias="with")


class Share(Answer):
    """A colleague who may open a server, and since when."""

    person: str = Field(alias="with")
    since: datetime | None = None


class NotebookShareRequest(Ask):
    """Show a colleague a notebook as it is now. `path` is inside the folder of the server's owner."""

    environment: Name = "default"
    path: str = Field(min_length=1, max_length=1000)
    person: PersonName = Field(alias="with")


class NotebookShare(Answer):
    """A copy of a notebook, made at `created_at`; `page` shows it to `with` until the share is ended."""

    id: str
    owner: str
    environment: str
    path: str
    person: str = Field(alias="with")
    created_at: datetime
    page: str
