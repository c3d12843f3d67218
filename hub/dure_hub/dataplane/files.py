"""The files of the data plane and the lock they are written under. Every write is one atomic rename."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from dure.errors import NotReady
from dure_hub.dataplane.fragments import Fragment
from dure_hub.dataplane.render import Json, document, make_clusters, make_routes
from dure_hub.settings import DataFolder

LOCK_TIMEOUT_S = 30.0
LOCK_POLL_S = 0.005


class Files:
    """Where fragments, Envoy's files and its admin socket lie."""

    def __init__(self, folder: DataFolder) -> None:
        self.bootstrap = folder.envoy / "bootstrap.json"
        self.clusters = folder.envoy / "clusters.json"
        self.routes = folder.envoy / "routes.json"
        self.certificate = folder.envoy / "certificate.json"
        self.leaving = folder.envoy / "leaving"
        self.trial = folder.envoy / "trial.json"
        self.fragments = folder.envoy / "fragments"
        self.socket = folder.run / "envoy-admin.sock"
        self.asked = folder.run / "envoys.json"
        """What Envoys that run elsewhere have asked for and taken; the portal service alone writes it."""
        self._lock = folder.envoy / "lock"
        self._present: tuple[tuple[int, int, int] | None, dict[str, Json]] = (None, {})

    def write(self, path: Path, text: str) -> None:
        """Write by rename: readers see the old text or the new, and Envoy's watch sees only renames."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text(text)
        temporary.chmod(0o600)
        temporary.replace(path)

    def read_all(self) -> dict[str, Fragment]:
        """Every fragment by its name."""
        return {path.stem: _read(path) for path in self.fragments.glob("*.json")}

    def read(self, name: str) -> Fragment:
        """One fragment; an empty one where nothing was published."""
        path = self.fragments / f"{name}.json"
        return _read(path) if path.exists() else Fragment()

    def keep(self, name: str, fragment: Fragment) -> None:
        """Store a fragment."""
        self.write(self.fragments / f"{name}.json", json.dumps(fragment.to_json(), separators=(",", ":")))

    def render(self, portal: str) -> None:
        """Write both files from the fragments at hand, for an Envoy that is about to start."""
        fragments = self.read_all()
        self.write_clusters(make_clusters(fragments, portal))
        self.write_routes(fragments)

    def write_clusters(self, clusters: Mapping[str, Json]) -> str:
        """Write the clusters; their version."""
        text, version = document([clusters[name] for name in sorted(clusters)])
        self.write(self.clusters, text)
        self._present = (signature_of(self.clusters), dict(clusters))
        return version

    def write_routes(self, fragments: Mapping[str, Fragment]) -> str:
        """Write the routes; their version."""
        text, version = document([make_routes(fragments)])
        self.write(self.routes, text)
        return version

    def present_clusters(self) -> dict[str, Json]:
        """The clusters as last written, by whichever process; read again only where the file is another."""
        if not self.clusters.exists():
            return {}
        signature = signature_of(self.clusters)
        if signature != self._present[0]:
            resources = json.loads(self.clusters.read_text())["resources"]
            self._present = (signature, {cluster["name"]: cluster for cluster in resources})
        return self._present[1]

    def left(self) -> dict[str, float]:
        """Clusters that no route names any more, with the time since when."""
        return dict(json.loads(self.leaving.read_text())) if self.leaving.exists() else {}

    def leave(self, clusters: Mapping[str, float]) -> None:
        """Remember them."""
        self.write(self.leaving, json.dumps(clusters))

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Alone among all processes of this portal. A killed holder leaves no lock behind."""
        with self._handle() as handle:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_lock(handle, deadline):  # noqa: ASYNC110 - another process holds it
                await asyncio.sleep(LOCK_POLL_S)
            yield

    @contextmanager
    def locked_here(self) -> Iterator[None]:
        """The same where there is no event loop."""
        with self._handle() as handle:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_lock(handle, deadline):
                time.sleep(LOCK_POLL_S)
            yield

    @contextmanager
    def _handle(self) -> Iterator[int]:
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)


def signature_of(path: Path) -> tuple[int, int, int]:
    """What is another where another file has taken its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> Fragment:
    return Fragment.from_json(json.loads(path.read_text()))


def _try_lock(handle: int, deadline: float) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        if time.monotonic() > deadline:
            raise NotReady(part="The route table") from held
        return False
    return True
