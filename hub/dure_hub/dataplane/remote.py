"""The start of an Envoy that runs elsewhere: it shares no files with the portal, and asks it for routes."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dure_hub.dataplane import asking, certificate
from dure_hub.dataplane.admin import TOKEN_HEADER
from dure_hub.dataplane.bootstrap import envoy_command, make_frame
from dure_hub.dataplane.listener import Front, make_fixed_chain, make_listener, make_listeners
from dure_hub.dataplane.render import document, make_cluster
from dure_hub.settings.remote import in_url

Json = dict[str, Any]

XDS = "xds"
"""The portal as what is asked for routes. What comes from there has a slash in its name, or is `check`."""

ADMIN = "admin"
"""Its own admin socket, as what a part of is shown."""

PAUSE = "0.1s"
"""Between two questions; each waits at the portal until there is something new. Also while the portal is away."""

TIMEOUT_S = asking.HOLD_S + 9


@dataclass(frozen=True)
class Elsewhere:
    """An Envoy in a place of its own. Addresses are host and port; port 0 is nowhere.

    `folder` is its own: bootstrap, admin socket and, with a certificate, the file that names that lie there.
    `certificate` and `key` are PEM files side by side in one folder, which is watched: a mounted Secret that
    changes is served to new connections.
    """

    name: str
    xds: tuple[str, int]
    token: str
    folder: Path
    listen: tuple[str, int] = ("0.0.0.0", 8000)  # noqa: S104 - people's port
    inside: tuple[str, int] = ("", 0)
    statistics: tuple[str, int] = ("0.0.0.0", 9901)  # noqa: S104 - for the portal, and for who asks /ready
    behind_proxy: bool = False
    certificate: Path | None = None
    key: Path | None = None

    @property
    def admin(self) -> Path:
        """Its admin socket."""
        return self.folder / "admin.sock"

    @property
    def bootstrap(self) -> Path:
        """What it starts from."""
        return self.folder / "bootstrap.json"

    @property
    def secret(self) -> Path:
        """Where it reads which certificate it serves."""
        return self.folder / "certificate.json"


def own_name(host: str) -> str:
    """A name that no other Envoy has, nor this one's last run: what each has taken is known by it."""
    return f"{host}-{secrets.token_hex(4)}"


def make_remote_bootstrap(envoy: Elsewhere) -> Json:
    """The bootstrap as a plain dict. The token is in it."""
    source = _poll()
    host, port = envoy.listen
    socket = None if envoy.certificate is None else certificate.make_socket(envoy.secret)
    front = Front(host, port, source, envoy.behind_proxy, socket, envoy.inside)
    listeners, clusters = make_listeners(front), [_portal(*envoy.xds)]
    if envoy.statistics[1]:
        listeners.append(_counted(envoy))
        clusters.append(_plain(make_cluster(ADMIN, f"unix:{envoy.admin}")))
    node = {
        "id": envoy.name,
        "cluster": "dure",
        "metadata": {"token": envoy.token, "statistics": envoy.statistics[1]},
    }
    static = {"listeners": listeners, "clusters": clusters}
    return make_frame(node, envoy.admin, source, static)


def make_named_secret(chain: Path, key: Path) -> Json:
    """The certificate that two files hold; Envoy reads both again when a name in their folder is moved."""
    return {
        **certificate.make_empty_secret(),
        "tls_certificate": {
            "certificate_chain": {"filename": str(chain)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(chain.parent)},
        },
    }


def write_remote_bootstrap(envoy: Elsewhere) -> Path:
    """Write what it starts from, of mode 600, and the file that names its certificate.

    Raises OSError where the folder is somebody else's, or others may write to it.
    """
    envoy.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = envoy.folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others may write to it", str(envoy.folder))
    if envoy.certificate is not None and envoy.key is not None:
        _write(envoy.secret, document([make_named_secret(envoy.certificate, envoy.key)])[0])
    _write(envoy.bootstrap, json.dumps(make_remote_bootstrap(envoy), indent=1))
    return envoy.bootstrap


def remote_command(envoy: Elsewhere) -> list[str]:
    """Its command line."""
    return envoy_command(envoy.bootstrap)


def _poll() -> Json:
    """Ask the portal. It starts with routes or not at all: one that knew none would tell everybody 404."""
    return {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": [XDS],
            "refresh_delay": PAUSE,
            "request_timeout": f"{TIMEOUT_S:g}s",
        },
    }


def _counted(envoy: Elsewhere) -> Json:
    """Two questions of the admin interface and nothing else of it: it could also end this Envoy."""
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    shown = {"name": TOKEN_HEADER, "string_match": {"exact": envoy.token}}
    to = {"cluster": ADMIN, "timeout": "15s"}
    routes = [
        {"match": {"path": "/ready", "headers": [get]}, "route": to},
        {"match": {"path": "/stats", "headers": [get, shown]}, "route": to},
    ]
    return make_listener("statistics", *envoy.statistics, make_fixed_chain("statistics", routes))


def _portal(host: str, port: int) -> Json:
    made = make_cluster(XDS, f"{in_url(host)}:{port}")
    return {**_plain(made), "connect_timeout": "1s"}


def _plain(cluster: Mapping[str, Any]) -> Json:
    return {name: value for name, value in cluster.items() if name != "@type"}


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    temporary.replace(path)
