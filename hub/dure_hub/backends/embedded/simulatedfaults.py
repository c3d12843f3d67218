"""Trouble of simulated GPUs, to try what follows: `run/simulated-faults.json` of the data folder.

It names GPUs by UUID, or by node and number as in `train-1/0`, each with what is wrong:
{"train-1/0": {"lost": true}, "train-1/1": {"xid": 79}, "train-1/2": {"rows": true},
 "train-1/3": {"outside": [{"pid": 4711, "name": "python", "user": "ana", "memory_mb": 9000}]}}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Device, Fault, Health, Outsider

log = logging.getLogger(__name__)

FILE = "simulated-faults.json"
WATCHED = 2000
"""GPUs of a simulated fleet that can be missed; those behind them cannot be lost."""


@dataclass(frozen=True)
class Trouble:
    """What the file says, by UUID; `stamp` is another one once it has changed."""

    by_device: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    at: datetime | None = None
    stamp: object = None

    @property
    def lost(self) -> frozenset[str]:
        """Those that are not there."""
        return frozenset(uuid for uuid, what in self.by_device.items() if what.get("lost"))


def read(path: Path, uuid_of: Callable[[str, int], str], last: Trouble) -> Trouble:
    """What is wrong now; without the file, nothing. A file that makes no sense is as none, and is told of once."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return Trouble()
    stamp = about.st_mtime_ns, about.st_ino
    if stamp == last.stamp:
        return last
    at = datetime.fromtimestamp(about.st_mtime, UTC)
    try:
        rows = {_uuid(name, uuid_of): dict(what) for name, what in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read, so nothing is wrong with any simulated GPU: %s", path, error)
        rows = {}
    return Trouble(rows, at, stamp)


def health(devices: Sequence[Device], trouble: Trouble) -> Health:
    """As a driver would say it."""
    there = {device.uuid for device in devices}
    faults, events, outsiders = [], [], {}
    for uuid, what in trouble.by_device.items():
        if uuid not in there:
            continue
        if "xid" in what:
            events.append(Fault(uuid, "xid", {"xid": int(what["xid"])}, trouble.at))
        faults += [Fault(uuid, code) for code in ("rows", "ecc") if what.get(code)]
        if what.get("outside"):
            outsiders[uuid] = tuple(Outsider(**one) for one in what["outside"])
    return Health(tuple(devices[:WATCHED]), faults, events, outsiders)


def _uuid(name: str, uuid_of: Callable[[str, int], str]) -> str:
    node, sign, number = name.rpartition("/")
    return uuid_of(node, int(number)) if sign else name
