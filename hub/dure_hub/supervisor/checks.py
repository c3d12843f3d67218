"""What is checked before anything starts. Each check passes silently or raises an error that says what to do."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from dure_hub.operations import live_profiles, rates
from dure_hub.settings import DataFolder, Settings
from dure_hub.settings.shared import SharedFolder
from dure_hub.supervisor.errors import (
    AddressNotOurs,
    DiskTooSmall,
    FolderNewer,
    NetworkFileSystem,
    OpenToReaders,
    PathTooLong,
    PortTaken,
    PythonTooOld,
    SharedFolderUnfit,
)

PYTHON_NEEDED = (3, 11)
LAYOUT = 1
"""Version of the data folder's layout; `up` writes it into the folder and refuses a greater one."""
NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "juicefs")}
)
SOCKET_LIMIT = 107
LONGEST_SOCKET = "/run/envoy-admin.sock"
NO_FOLDER = {"en": "is no folder", "ko": "폴더가 아닙니다"}
PORTALS_OWN = {"en": "is in the portal's own data folder or around it", "ko": "포털의 데이터 폴더와 겹칩니다"}
IN_ANOTHER = {"en": "is in another shared folder", "ko": "다른 공유 폴더 안에 있습니다"}
OWN_PORTS = range(20000, 32000)
"""Below the kernel's range for outgoing connections, so that none takes the port of a service that restarts."""


def python_new_enough(found: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise `PythonTooOld` below the version the portal needs."""
    if found < PYTHON_NEEDED:
        raise PythonTooOld(found=f"{found[0]}.{found[1]}", needed=f"{PYTHON_NEEDED[0]}.{PYTHON_NEEDED[1]}")


def path_short_enough(folder: DataFolder) -> None:
    """Raise `PathTooLong` where the sockets under run/ could not be bound."""
    if len(os.fsencode(str(folder.root) + LONGEST_SOCKET)) > SOCKET_LIMIT:
        raise PathTooLong(folder=str(folder.root), limit=SOCKET_LIMIT - len(LONGEST_SOCKET))


def disk_enough(settings: Settings) -> None:
    """Raise `DiskTooSmall` when the data folder's disk is nearly full."""
    free = shutil.disk_usage(settings.folder.root).free // 2**20
    if free < settings.disk_minimum_mb:
        raise DiskTooSmall(folder=str(settings.folder.root), free_mb=free, needed_mb=settings.disk_minimum_mb)


def file_system(path: Path, mounts: str | None = None) -> str:
    """Kind of the file system that holds `path`, as /proc/self/mounts says; `unknown` where it is silent."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return "unknown"
    best, kind = -1, "unknown"
    for entry in mounts.splitlines():
        words = entry.split()
        if len(words) < 3:
            continue
        place = Path(words[1].encode().decode("unicode_escape"))
        # The later of two mounts on one place hides the earlier.
        if (path == place or place in path.parents) and len(place.parts) >= best:
            best, kind = len(place.parts), words[2]
    return kind


def disk_local(folder: DataFolder, mounts: str | None = None) -> None:
    """Raise `NetworkFileSystem` where db/ lies on one."""
    kind = file_system(folder.db, mounts)
    if kind in NETWORK_KINDS:
        raise NetworkFileSystem(folder=str(folder.db), kind=kind)


def layout_known(folder: DataFolder) -> None:
    """Raise `FolderNewer` where a newer portal wrote the folder; write the version where there is none."""
    version = folder.root / "version"
    try:
        text = version.read_text().strip()
    except FileNotFoundError:
        version.write_text(f"{LAYOUT}\n")
        return
    refuse_newer_layout(str(folder.root), text)


def refuse_newer_layout(place: str, found: str) -> None:
    """Raise `FolderNewer` where a layout's version is none that this portal knows."""
    if not found.isdigit() or int(found) > LAYOUT:
        raise FolderNewer(folder=place, found=found[:20], known=LAYOUT)


def shared_folders_fit(settings: Settings) -> None:
    """Raise `SharedFolderUnfit` for the first that cannot be given to people."""
    for folder in settings.shared_folders:
        shared_folder_fits(settings, folder)


def shared_folder_fits(settings: Settings, folder: SharedFolder) -> None:
    """Raise `SharedFolderUnfit` where it is not there, or overlaps the portal's own folder, or is in another one.

    Who writes into that other one could put something else in its place.
    """
    found, own = folder.path.resolve(), settings.folder.root
    others = [one.path.resolve() for one in settings.shared_folders if one.name != folder.name]
    why = _no_folder(found)
    if why is None and (found.is_relative_to(own) or own.is_relative_to(found)):
        why = PORTALS_OWN
    if why is None and any(found.is_relative_to(other) for other in others):
        why = IN_ANOTHER
    if why is not None:
        raise SharedFolderUnfit(name=folder.name, path=str(folder.path), why=why)


def _no_folder(path: Path) -> Mapping[str, str] | None:
    try:
        return None if path.is_dir() else NO_FOLDER
    except OSError as error:
        said = error.strerror or str(error)
        return {"en": f"cannot be looked at by the portal ({said})", "ko": f"포털이 볼 수 없습니다({said})"}


def rates_usable(folder: DataFolder) -> None:
    """Raise `BadRates` where the rate card is there and cannot be used: work would start at unknown prices."""
    if folder.rates.exists():
        rates.load(folder.rates)


def profiles_usable(folder: DataFolder) -> None:
    """Raise `BadFile` where profiles.yaml is broken and there was never a good one to go by."""
    live_profiles.usable(folder)


def reached_safely(settings: Settings) -> None:
    """Raise `OpenToReaders` where passwords would go by plain http to an address that others reach."""
    if settings.tls_cert is None and not settings.on_loopback and not settings.insecure_http:
        raise OpenToReaders(host=settings.host or "0.0.0.0", port=settings.port)  # noqa: S104 - told, not bound


def port_free(host: str, port: int, ours: Collection[int] = ()) -> None:
    """Raise `PortTaken`, naming the holder, unless the port can be bound or one of the pids `ours` holds it."""
    reason = bind_error(host, port)
    if reason is None:
        return
    if reason.errno != errno.EADDRINUSE:
        raise AddressNotOurs(host=host, port=port, reason=reason.strerror or str(reason))
    pid = listener(port)
    if pid is None or pid not in ours:
        raise PortTaken(host=host, port=port, holder=describe(pid), free=free_near(host, port))


def bind_error(host: str, port: int) -> OSError | None:
    """Why this address cannot be listened on now; None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is not taken
            probe.bind(address)
            probe.listen(1)
    except OSError as why:
        return why
    return None


def listener(port: int) -> int | None:
    """Process that listens on a TCP port; None where it is another user's and may not be seen."""
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port:
            return found.pid
    return None


def describe(pid: int | None) -> str:
    """A process in words: name, pid, owner, command."""
    if pid is None:
        return "another user's process"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())[:80]
        return f"{process.name()} (process {pid}, user {process.username()}: {command})"
    except psutil.Error:
        return f"process {pid}"


def free_near(host: str, port: int) -> int | None:
    """The next port above that could be used."""
    return next((p for p in range(port + 1, min(port + 100, 65536)) if bind_error(host, p) is None), None)


def own_port(wanted: int, avoid: Collection[int], ours: Collection[int] = ()) -> int:
    """A free loopback port for a service: `wanted` (the last run's) where it is free, else a random one.

    What one of the pids `ours` holds counts as free.
    """
    if wanted and wanted not in avoid and (bind_error("127.0.0.1", wanted) is None or listener(wanted) in ours):
        return wanted
    for port in random.sample(OWN_PORTS, 200):  # chance only spreads two portals of one machine
        if port not in avoid and bind_error("127.0.0.1", port) is None:
            return port
    raise PortTaken(host="127.0.0.1", port=f"{OWN_PORTS[0]}-{OWN_PORTS[-1]}", holder="other processes", free=None)
