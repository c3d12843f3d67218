"""A decision with its reason: allowed or not, a code, typed facts. The edge renders the sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What a policy decided and why. `facts` are plain JSON values; unknown is None, never zero."""

    allowed: bool
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def yes(cls, code: str, **facts: Any) -> Verdict:
        """Allowed, because."""
        return cls(True, code, facts)

    @classmethod
    def no(cls, code: str, **facts: Any) -> Verdict:
        """Refused, because."""
        return cls(False, code, facts)

    def to_json(self) -> dict[str, Any]:
        """The form kept in events and sent on the wire."""
        return {"allowed": self.allowed, "code": self.code, "facts": dict(self.facts)}
