"""Envoy's listeners, with every filter they will ever need. Routes switch filters on and off.

A listener that changes would drain the sockets open through it, so nothing that changes while the portal runs is
in here: neither routes nor clusters, not even the portal's own port or the certificate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from dure.errors import NotReady
from dure_hub.dataplane.errors import HttpsOnly
from dure_hub.dataplane.render import CHECK, ROUTES

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


@dataclass(frozen=True)
class Front:
    """Where people come in. `routes` and `secret` are Envoy's sources of routes and certificate.

    Without `secret` it speaks plain http. The portal's own programs and people's servers may come in at `inside`,
    host and port, by plain http, where nobody is believed who says who they are for; port 0 is nowhere.
    """

    host: str
    port: int
    routes: Json
    behind_proxy: bool = False
    socket: Json | None = None
    inside: tuple[str, int] = ("", 0)


def make_listeners(front: Front) -> list[Json]:
    """The front port, and the one inside where there is one."""
    host, port = front.inside
    if not port:
        return [_outer(front)]
    manager = make_manager(replace(front, behind_proxy=False), "inside")
    return [_outer(front), make_listener("inside", host, port, _chain(manager))]


def _outer(front: Front) -> Json:
    chain = _chain(make_manager(front))
    if front.socket is None:
        return make_listener("front", front.host, front.port, chain)
    encrypted = {
        **chain,
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": front.socket,
        "transport_socket_connect_timeout": HANDSHAKE,
    }
    inspector = {"name": "tls", "typed_config": {"@type": f"{_TYPE}{_INSPECTOR}"}}
    return {
        **make_listener("front", front.host, front.port, encrypted),
        "default_filter_chain": _only_https(),
        "listener_filters": [inspector],
        "listener_filters_timeout": HANDSHAKE,
    }


def make_trial(front: Front, table: Json) -> Json:
    """A listener that has its routes in it, for Envoy to look at and not to serve."""
    # A route may be written before its cluster is known; a table that is part of a listener may not.
    manager = {**make_manager(front), "route_config": {**table, "validate_clusters": False}}
    del manager["rds"]
    return make_listener("front", front.host, front.port, _chain(manager))


def make_listener(name: str, host: str, port: int, chain: Json) -> Json:
    """A listener of one chain of filters."""
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
    return make_fixed_chain("plain", routes)


def make_fixed_chain(name: str, routes: list[Json]) -> Json:
    """What answers by routes that never change, the same for every host."""
    return _chain(
        {
            "@type": f"{_TYPE}{_MANAGER}",
            "stat_prefix": name,
            "request_headers_timeout": HEADERS,
            "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
            "http_filters": [_router()],
        }
    )


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


def make_manager(front: Front, name: str = "front") -> Json:
    """What handles the requests of one listener; `name` is part of its statistics' names."""
    return {
        "@type": f"{_TYPE}{_MANAGER}",
        "stat_prefix": name,
        "rds": {"route_config_name": ROUTES, "config_source": front.routes},
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
        "xff_num_trusted_hops": 1 if front.behind_proxy else 0,
        # Nobody is internal, so nobody steers Envoy by x-envoy- headers.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "local_reply_config": {"mappers": _replies()},
        "http_filters": [
            {"name": "identity", "typed_config": _identity(front)},
            {"name": "envoy.filters.http.ext_authz", "disabled": True, "typed_config": _ask_portal()},
            _router(),
        ],
    }


def _identity(front: Front) -> Json:
    """Before anything else: nobody says for themselves who they are or where they come from."""
    mutations: list[Json] = [{"remove": name} for name in (*IDENTITY, CLIENT_ADDRESS)]
    if front.behind_proxy:
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
