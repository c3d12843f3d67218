"""What `dure doctor` says of one thing that it has looked at."""

from __future__ import annotations

from dataclasses import dataclass

OK, LIMITED, BAD = "ok", "limited", "bad"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `topic` and `state` are for programs, the rest for people."""

    topic: str
    state: str
    text: str
    to_do: str = ""
