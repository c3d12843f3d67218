"""The organisation as one file: users, teams, quotas, budgets, rates, profiles; for administrators."""

from __future__ import annotations

from pathlib import Path

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table
from dure.errors import BadRequest, Text

_LONG_S = 300.0
"""Many accounts and groups take a while."""
_FILE: Text = {"en": "it is a text file that can be read", "ko": "읽을 수 있는 텍스트 파일이어야 합니다"}


def get() -> wire.Organisation:
    """The organisation as it is; its `text` is the file that says so."""
    return read(wire.Organisation, client().get("/organisation"))


def apply(text: str, *, dry_run: bool = False, base: str | None = None) -> wire.OrganisationDiff:
    """Bring the organisation to what this YAML says, all of it or nothing; with `dry_run` only say what would be.

    With `base` it is refused where the organisation is not of that revision any more.
    """
    request = ask(wire.OrganisationRequest, text=text, dry_run=dry_run, base=base)
    answer = client().put("/organisation", request.model_dump(exclude_none=True), timeout_s=_LONG_S)
    return read(wire.OrganisationDiff, answer)


def apply_file(path: str | Path, *, dry_run: bool = False, base: str | None = None) -> wire.OrganisationDiff:
    """The same with a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(field="file", value=str(path), rule=_FILE) from error
    return apply(text, dry_run=dry_run, base=base)


def teams() -> Table[wire.Team]:
    """Your teams; for administrators, all."""
    return Table(read_all(wire.Team, client().get("/teams")), ("name", "members", "leads", "projects", "lead"))
