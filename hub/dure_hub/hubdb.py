"""How JupyterHub's own database is opened.

The hub commits about ten times for one start of a server, on its only thread. SQLite's default then waits for the
disk some thirty times; with a write-ahead log it waits never. What that gives up is the last moments before a
power loss, which ends every server anyway; a killed hub loses nothing, and the file stays consistent in both.
"""

from __future__ import annotations

import sqlite3
from typing import Any


class HubConnection(sqlite3.Connection):
    """A connection with a write-ahead log, checkpointed without being waited for, and patience with a writer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=NORMAL"):
            self.execute(f"PRAGMA {pragma}")


CONNECT = {"factory": HubConnection, "check_same_thread": False}
"""For `create_engine(…, connect_args=CONNECT)`."""
