"""A browser for widgets, as far as Python sees one: what was sent to it, and what it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comm
from comm.base_comm import BaseComm

from dure_widgets import Panel


class RecordingComm(BaseComm):
    """Keeps every message instead of sending it."""

    sent: list[tuple[str, dict[str, Any]]] = []

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        """Keep it."""
        RecordingComm.sent.append((msg_type, json.loads(json.dumps({"data": data, "metadata": metadata} | keys))))


@contextmanager
def recorded() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every message of widgets made inside."""
    before, RecordingComm.sent = comm.create_comm, []
    comm.create_comm = RecordingComm
    try:
        yield RecordingComm.sent
    finally:
        comm.create_comm = before


def bytes_of(messages: list[tuple[str, dict[str, Any]]]) -> int:
    """What these weigh on the wire."""
    return sum(len(json.dumps(content, ensure_ascii=False).encode()) for _, content in messages)


def customs(messages: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """The messages that are no state."""
    contents = [content["data"] for kind, content in messages if kind == "comm_msg"]
    return [data["content"] for data in contents if data.get("method") == "custom"]


def click(panel: Panel, verb: str, **values: Any) -> None:
    """Ask as the browser does."""
    panel._handle_custom_msg({"ask": verb, **values}, [])
