"""Nothing of a portal runs, and nothing of it can start meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dure_hub.settings import Settings
from dure_hub.supervisor import closing, lock, prepare, processes
from dure_hub.supervisor.errors import NotDown

WRITERS = ("hub", "portal", "mlflow")


@contextmanager
def standing_still(settings: Settings, *, work: bool) -> Iterator[Settings]:
    """Hold run/lock; the settings in it carry the folder's mark.

    Raises `AlreadyUp` where a supervisor runs, and `NotDown` where a killed one has left services that write into
    the databases, or, with `work`, anything at all.
    """
    with lock.held(settings):
        settings = prepare.with_instance(settings)
        found = closing.marked(settings) if work else _writers(settings)
        if found:
            raise NotDown(folder=str(settings.folder.root), pids=", ".join(str(one.pid) for one in found))
        yield settings


def _writers(settings: Settings) -> list[processes.Process]:
    return processes.marked(settings.instance, lambda found: found.get("DURE_SERVICE") in WRITERS)
