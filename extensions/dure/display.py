"""How the SDK shows things: tables in a notebook, lines of progress, logs as plain text."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from dure.errors import Text as Words
from dure.errors import as_text, reader_language

T = TypeVar("T")


def say(en: str, ko: str) -> None:
    """One line of progress in the reader's language."""
    write((ko if reader_language() == "ko" else en) + "\n")


def reason_of(thing: Any) -> Words | str | None:
    """Why something is as it is: in every language where the portal has said it so, else as it said it."""
    texts = getattr(thing, "reason_text", None)
    return (
        texts
        if isinstance(texts, dict) and texts.get("en") and texts.get("ko")
        else getattr(thing, "reason", None)
    )


def write(text: str) -> None:
    """Text as it is, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Text(str):
    """A string that a notebook shows as text, not in quotes with `\\n` in it."""

    def __repr__(self) -> str:
        return str(self)


NOTHING = "-"
_NOTHINGS = frozenset(
    (
        "since", "until", "message", "reason", "url", "why", "on_behalf_of",
        "expires_at", "used_at", "revoked_at", "seen_at", "last_sent_at", "last_error", "mail_to", "next_at",
    )
)  # fmt: skip
"""Columns where the portal knows that there is nothing, as of a key that nobody has used."""


class Table(list[T]):
    """A list that shows as a table. Columns are attributes of its items. Unknown shows as `unknown`; where null
    says that there is nothing, as an end of what has none, a dash.
    """

    def __init__(self, items: Iterable[T], columns: Sequence[str]) -> None:
        super().__init__(items)
        self.columns = columns

    def _cells(self) -> list[list[str]]:
        return [[self._cell(getattr(item, column, None), column) for column in self.columns] for item in self]

    def _cell(self, value: Any, column: str) -> str:
        return NOTHING if value is None and column in _NOTHINGS else shown(value)

    def __repr__(self) -> str:
        rows = [list(self.columns), *self._cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        return html_table(self.columns, self._cells())


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "unknown"
    if isinstance(value, dict) and set(value) >= {"en", "ko"}:
        return str(as_text(value, reader_language()))
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return str(value)


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with every value escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
