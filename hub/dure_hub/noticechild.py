"""The process that sends notices: one address, then it ends. `python -I -m dure_hub.noticechild`.

What to send comes as JSON on its standard input, so that no secret is in its command line or environment. A person
chooses the address, and the portal stands inside a network: so this process may do one thing. It connects, to
public addresses and to the networks it was told of, and the very address that is connected to is looked at: a name
that means something else the next time gains nothing. It starts no program, writes no file, and reads none but
Python's own, so that no option of an address (a template, a key) can send what lies here.

The answer is a line of JSON for each message: its `id`, and `error`, a code or null.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

_LIFE_S = 90
_MEMORY = 512 << 20
"""Several times what it needs: a receiver whose answer has no end fills this process, and not the machine."""
_PATIENCE_S = 4.0
"""How long a receiver may take to be connected to, and between parts of its answer, whatever its address says."""
_STATUS = re.compile(r"error=(\d{3})\b")
_TRANSLATED = IPv6Network("64:ff9b::/96")
_READABLE = (
    *("/etc/ssl", "/etc/pki", "/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/share/zoneinfo"),
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/mime.types"),
    *("/etc/gai.conf", "/etc/services", "/etc/localtime", "/dev/null"),
)
_PROGRAMS = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "pty.",
    "ctypes.dlopen",
)
_FILES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_OTHER = ("socket.bind", "socket.sendto", "socket.sendmsg", "shutil.")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Refused(PermissionError):
    """This process may not do that."""


class Guard:
    """What this process may do from now on. It cannot be taken off again."""

    def __init__(self, networks: Iterable[str], *, anywhere: bool) -> None:
        self._networks = [ip_network(one) for one in networks]
        self._anywhere = anywhere
        roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path), *_READABLE}
        self._readable = [Path(one).resolve() for one in roots]
        self.connected = self.refused = self.refused_file = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: raises where something is done that this process has no business to do."""
        if event == "socket.connect":
            self._connect(arguments[1])
        elif event == "open":
            self._open(*arguments)
        elif event.startswith((*_PROGRAMS, *_FILES, *_OTHER)):
            raise Refused(event)

    def _connect(self, address: Any) -> None:
        self.connected = True
        if not isinstance(address, tuple) or not self._allowed(str(address[0])):
            self.refused = True
            raise Refused("this address is not allowed")

    def _allowed(self, text: str) -> bool:
        if self._anywhere:
            return True
        found = _meant(ip_address(text.partition("%")[0]))
        if any(found.version == one.version and found in one for one in self._networks):
            return True
        # Python counts as global what IPv6 keeps back: forms that stand for IPv4 ones inside, and old local ones.
        kept_back = found.is_multicast or found.is_reserved
        return found.is_global and not kept_back and not (isinstance(found, IPv6Address) and found.is_site_local)

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        place = Path(os.fsdecode(path)).resolve()
        reads = not (isinstance(flags, int) and flags & _WRITES)
        if not reads or not any(place.is_relative_to(root) for root in self._readable):
            self.refused_file = True
            raise Refused("this file is not for this process")


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inside is None and address in _TRANSLATED:
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    return inside or address


class Said(logging.Handler):
    """The status that a server answered with, from what Apprise says; its words are kept nowhere: they may tell
    a secret of the address."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.status: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """One line of Apprise's."""
        found = _STATUS.search(record.getMessage())
        self.status = found[1] if found else self.status


def main() -> None:
    """Read, do as told, answer."""
    asked = json.loads(sys.stdin.buffer.read())
    said = Said()
    logging.basicConfig(handlers=[said], level=logging.WARNING, force=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.alarm(_LIFE_S)  # also where whoever asked was killed
    import apprise
    import apprise.manager_plugins

    manager: Any = apprise.manager_plugins.NotificationManager
    manager().load_modules()  # now, while libraries may still be loaded
    guard = Guard(asked["networks"], anywhere=asked["anywhere"])
    sys.addaudithook(guard)
    plugin, error = _plugin(apprise, asked["url"], asked["schemes"])
    if asked["do"] == "check":
        _say(_about(plugin, asked["url"]) if plugin is not None else {"error": error})
        return
    for message in asked["messages"]:
        _say({"id": message["id"], "error": error or _send(plugin, message, guard, said)})


def _plugin(apprise: Any, url: str, schemes: Iterable[str]) -> tuple[Any, str | None]:
    """What Apprise makes of an address; None and why where it makes nothing, or must not."""
    asset = apprise.AppriseAsset(
        plugin_paths=[], storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False, secure_logging=True
    )
    try:
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    except Refused:
        return None, "bad_address"
    if plugin is None:
        return None, "bad_address"
    if _scheme(plugin, url) not in schemes:
        return None, "scheme_not_allowed"
    plugin.socket_connect_timeout = plugin.socket_read_timeout = _PATIENCE_S
    plugin.retry, plugin.wait = 0, 0.0  # whether and when to try again is the portal's to say
    plugin.notify_format = apprise.NotifyFormat.TEXT  # what people wrote is never read as HTML
    return plugin, None


def _scheme(plugin: Any, url: str) -> str:
    """As Apprise names it: an address of a service's own (`https://hooks.…`) has that of its service."""
    known: list[str] = []
    for names in (plugin.secure_protocol, plugin.protocol):
        known += [names] if isinstance(names, str) else list(names or ())
    given = url.partition("://")[0].lower()
    return given if given in known else known[0] if known else given


def _about(plugin: Any, url: str) -> dict[str, Any]:
    """What may be shown of an address. Where a service has its host, what stands there is a part of the secret."""
    host = plugin.host if "host" in plugin.template_tokens else None
    return {"error": None, "scheme": _scheme(plugin, url), "host": host or None}


def _send(plugin: Any, message: Mapping[str, str], guard: Guard, said: Said) -> str | None:
    guard.connected = guard.refused = guard.refused_file = False
    said.status = None
    if message.get("to"):
        plugin.targets = [(False, message["to"])]
    try:
        done = plugin.notify(body=message["body"], title=message["title"], body_format="text")
    except Exception:  # noqa: BLE001 - whatever a plugin does wrong, it was not sent; its words may hold a secret
        return "failed"
    if done:
        return None
    if guard.refused or guard.refused_file:
        return "address_not_allowed" if guard.refused else "bad_address"
    if said.status is not None:
        return f"http_{said.status}"
    return "no_answer" if guard.connected else "unknown_host"


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
