"""Tells a service manager that waits for it how far the portal is, as sd_notify(3) says."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send `READY=1` or the like to the socket that `NOTIFY_SOCKET` names; False where nobody waits there."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            # an @ stands for the first byte of an address that has no file
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.sendall(state.encode())
    except OSError:
        return False
    return True
