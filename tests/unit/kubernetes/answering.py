"""API servers that answer what a test says, and a pod that Kueue holds back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dure_hub.backends.base import Handle, Kind
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterRefused
from dure_hub.backends.kubernetes.marks import GATE, QUEUE

HANDLE = Handle("L", Kind.SERVER, {"namespace": "dev", "name": "server-l", "uid": "u"})
HELD: dict[str, Any] = {
    "metadata": {"name": "server-l", "namespace": "dev", "uid": "u", "labels": {QUEUE: "dure-vision"}},
    "spec": {"schedulingGates": [{"name": GATE}]},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "it is gated"}]},
}
LET_IN: dict[str, Any] = {**HELD, "spec": {}}


class Said(Cluster):
    """Answers in turn, the last one again and again; may not look at what is `closed`."""

    def __init__(self, answers: Sequence[Any], closed: Sequence[str] = ()) -> None:
        super().__init__(lambda: connect(None))
        self.answers, self.closed = list(answers), closed

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """The next answer."""
        self._look(path)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return said if said is None else dict(said)

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Nothing."""
        self._look(path)
        return []

    def _look(self, path: str) -> None:
        if any(word in path for word in self.closed):
            raise ClusterRefused(why=f"cannot look at {path}")
