"""XIDs as the driver reports them: events, heard in a thread of their own for as long as the process lives.

The driver keeps no list of them, so what comes while nobody listens is not heard; what such an error leaves behind
(a lost GPU, rows that could not be replaced) is found by looking. Every XID is kept, fatal or not: who asks
decides.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dure_hub.backends.base import Fault
from dure_hub.backends.embedded.driver import Driver, NoDriver, session

log = logging.getLogger(__name__)

_WAIT_MS = 1000
_AGAIN_S = 30.0
"""Between two tries where there is no driver, or no GPU that tells its events."""
_MOST = 1000
"""XIDs that are kept, by GPU and number; one that comes again takes the place of the last."""


def _now() -> datetime:
    return datetime.now(UTC)


class XidWatch:
    """Listens once it was asked for the first time."""

    def __init__(self, now: Callable[[], datetime] = _now) -> None:
        self._now = now
        self._found: dict[tuple[str, int], Fault] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def found(self) -> tuple[Fault, ...]:
        """All XIDs that were heard, each with the time at which it last came."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="xids", daemon=True)
                self._thread.start()
            return tuple(self._found.values())

    def close(self) -> None:
        """Listen no more; waits for the thread for as long as one question to the driver takes."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * _WAIT_MS / 1000)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                with session() as driver:
                    self._hear(driver)
            except NoDriver as error:
                log.info("no events of GPUs are heard for now: %s", error)
            except Exception:  # a driver without this call; nothing else must end for it
                log.exception("no events of GPUs are heard for now")
            self._over.wait(_AGAIN_S)

    def _hear(self, driver: Driver) -> None:
        """Until the driver has an error, as it does for a GPU that is lost: then all are registered anew."""
        lib = driver.lib
        events = lib.nvmlEventSetCreate()
        try:
            heard = [uuid for uuid, gpu in driver.gpus() if self._register(driver, gpu, events)]
            while heard and not self._over.is_set():
                try:
                    data = lib.nvmlEventSetWait_v2(events, _WAIT_MS)
                except lib.NVMLError as error:
                    if error.value == lib.NVML_ERROR_TIMEOUT:
                        continue
                    return
                self._note(driver, data)
        finally:
            with contextlib.suppress(lib.NVMLError):
                lib.nvmlEventSetFree(events)

    def _register(self, driver: Driver, gpu: Any, events: Any) -> bool:
        lib = driver.lib
        known = driver.maybe(lib.nvmlDeviceGetSupportedEventTypes, gpu) or 0
        if not known & lib.nvmlEventTypeXidCriticalError:
            return False
        try:
            lib.nvmlDeviceRegisterEvents(gpu, lib.nvmlEventTypeXidCriticalError, events)
        except lib.NVMLError:
            return False
        return True

    def _note(self, driver: Driver, data: Any) -> None:
        uuid = driver.maybe(driver.lib.nvmlDeviceGetUUID, data.device)
        if uuid is None or not data.eventType & driver.lib.nvmlEventTypeXidCriticalError:
            return
        xid = int(data.eventData)
        log.warning("GPU %s reports XID %d", uuid, xid)
        with self._lock:
            self._found.pop((uuid, xid), None)
            self._found[uuid, xid] = Fault(uuid, "xid", {"xid": xid}, self._now())
            while len(self._found) > _MOST:
                self._found.pop(next(iter(self._found)))
