"""Sockets of services that Envoy alone may reach."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path


def listen(path: Path) -> socket.socket:
    """A Unix socket of mode 600; one left by a killed server is replaced."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    server.listen(512)
    return server


def listen_at(host: str, port: int) -> socket.socket:
    """A TCP socket, where Envoy is on another machine. Who may use it is `fronted`'s to say."""
    return socket.create_server((host, port), backlog=512)
