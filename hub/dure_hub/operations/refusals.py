"""MIG places that could not be had lately: placement would choose the same again, and for ever.

Something runs there by hand, or the driver has a reason of its own. In a file, for the hub and the portal both
choose places and cut.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from dure_hub.backends.base import Device
from dure_hub.operations.machines import Units
from dure_hub.settings import Settings
from dure_hub.store import Clock

log = logging.getLogger(__name__)

_KEPT = timedelta(minutes=10)
"""After that it is tried again: what ran there may have ended, which changes nothing that a look could see."""


class Refusals:
    """What was refused, until what lies at the place has changed, and for ten minutes at most."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._path, self._clock = settings.folder.run / "mig-refused.json", clock

    def note(self, device: Device, units: range) -> None:
        """These memory units of a GPU could not be had as it was cut then."""
        row = {
            "device": device.uuid,
            "units": [units.start, units.stop],
            "there": _there(device, units),
            "at": self._clock().isoformat(),
        }
        kept = [*(one for one in self._rows() if (one["device"], one["units"]) != (row["device"], row["units"]))]
        temporary = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            temporary.write_text(json.dumps([*kept, row]))
            temporary.replace(self._path)  # of two who write at once one is lost: it costs one more refusal
        except OSError as error:  # so does a full disk; the refusal itself must reach who asked
            log.warning("a refused place of %s was not noted: %s", device.uuid, error)

    def units(self, devices: Iterable[Device]) -> Units:
        """What not to give of these GPUs now."""
        rows = self._rows()
        by_uuid = {device.uuid: device for device in devices} if rows else {}
        found: dict[str, frozenset[int]] = {}
        for row in rows:
            device, units = by_uuid.get(row["device"]), range(*row["units"])
            if device is not None and _there(device, units) == row["there"]:
                found[device.uuid] = found.get(device.uuid, frozenset()) | frozenset(units)
        return found

    def mark(self) -> object:
        """Another one once something was noted."""
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return None
        return about.st_mtime_ns, about.st_ino

    def _rows(self) -> list[dict[str, Any]]:
        """What still counts."""
        now = self._clock()
        try:
            rows = json.loads(self._path.read_text())
        except FileNotFoundError:
            return []
        except ValueError:  # a power cut left it empty; nobody's work hangs on it
            log.warning("%s cannot be read; what was refused before is forgotten", self._path)
            return []
        return [row for row in rows if timedelta(0) <= now - datetime.fromisoformat(row["at"]) < _KEPT]


def _there(device: Device, units: range) -> Sequence[Sequence[Any]]:
    """The instances that reach into these units, as JSON gives them back."""
    return sorted(
        [one.profile or "", one.start, one.uuid or ""]
        for one in device.instances
        if one.start is not None and one.start < units.stop and units.start < one.start + (one.size or 1)
    )
