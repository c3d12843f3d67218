"""Fragments to Envoy's clusters and routes: pure functions to plain dicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dure_hub.dataplane.fragments import PRECEDENCE, Fragment, Route, split_address

Json = dict[str, Any]

ROUTES = "routes"
"""Name of the route configuration; it is part of its statistics' names."""

CHECK = "check"
"""The portal's check route as a cluster: what ext_authz asks."""

UPSTREAM_IDLE = "4s"
"""Under uvicorn's keep-alive of 5 s, so that Envoy never writes into a connection that is being closed."""

NEVER_ANSWERED = ("service-worker-allowed",)
"""Headers that no answer has, on any route. With this one, a page of one person's server could install a script
that reads and answers every visitor's requests to the whole origin; without it, a script reaches no further than
the path it comes from."""

_TYPE = "type.googleapis.com/"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED = 65535


def merged(fragments: Mapping[str, Fragment], domain: str = "") -> dict[str, tuple[str, Route]]:
    """The route of each prefix of a host and whose it is: `services` before `endpoints`, and that before `hub`."""
    return _tables(fragments).get(domain, {})


def _tables(fragments: Mapping[str, Fragment]) -> dict[str, dict[str, tuple[str, Route]]]:
    tables: dict[str, dict[str, tuple[str, Route]]] = {"": {}}
    for name in sorted(fragments, key=_precedence):
        for route in fragments[name].routes:
            tables.setdefault(route.domain, {}).setdefault(route.prefix, (name, route))
    for domain, table in tables.items():
        above = tables.get("*." + domain.partition(".")[2], {})
        if domain and "/" in above:
            table.setdefault("/", above["/"])
    return tables


def full_name(fragment: str, cluster: str) -> str:
    """A cluster's name in Envoy: writers cannot take each other's names."""
    return f"{fragment}/{cluster}"


def make_clusters(fragments: Mapping[str, Fragment], portal: str) -> dict[str, Json]:
    """Every cluster by its full name, the fallback pairs included, and the check of the portal, at `portal`."""
    found = {CHECK: make_cluster(CHECK, portal)}
    for owner in sorted(fragments):
        for cluster in fragments[owner].clusters:
            name = full_name(owner, cluster.name)
            found[name] = make_cluster(name, cluster.address, ejects=cluster.fallback is not None)
            if cluster.fallback is not None:
                pair = with_fallback(name)
                found[pair] = make_fallback(pair, (name, full_name(owner, cluster.fallback)))
    return found


def make_cluster(name: str, address: str, *, ejects: bool = False) -> Json:
    """One upstream at one address. `ejects`: it is left out for a moment where it cannot be reached.

    Only what never answered counts against it: an application's own 5xx is for whoever judges it to see.
    """
    cluster: Json = {
        "@type": f"{_TYPE}envoy.config.cluster.v3.Cluster",
        "name": name,
        **_discovery(address),
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _endpoint(address)}}]}],
        },
        "circuit_breakers": _breakers(),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"{_TYPE}{_HTTP_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }
    if ejects:
        cluster["outlier_detection"] = {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 100,
        }
    return cluster


def make_fallback(name: str, members: tuple[str, str]) -> Json:
    """The first member while it can be reached, else the second."""
    return {
        "@type": f"{_TYPE}envoy.config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": _breakers(),
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": list(members),
            },
        },
    }


def make_routes(fragments: Mapping[str, Fragment]) -> Json:
    """The whole route table: one entry a host, and in each flat maps on the path, so that the thousandth route
    costs what the first does.
    """
    tables = _tables(fragments)
    made: Json = {
        "@type": f"{_TYPE}envoy.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [make_host(domain, tables[domain], fragments) for domain in sorted(tables)],
        "response_headers_to_remove": list(NEVER_ANSWERED),
    }
    if len(tables) > 1:
        made["ignore_port_in_host_matching"] = True
    return made


def make_host(domain: str, table: Mapping[str, tuple[str, Route]], fragments: Mapping[str, Fragment]) -> Json:
    """One host with its routes; `front` is every host that no other is."""
    exact: dict[str, Json] = {}
    prefixes: dict[str, Json] = {}
    for prefix, (owner, route) in sorted(table.items()):
        prefixes[prefix] = _action(make_route(owner, fragments[owner], route))
        if prefix != "/":
            bare = prefix[:-1]
            exact[bare] = prefixes[f"{bare}?"] = _action(_add_slash(bare))
    default = prefixes.pop("/", None)
    if not prefixes and default is not None:
        prefixes["/"] = default  # a host takes a tree only, and a tree takes an entry
    found = _by_path("exact_match_map", exact, _by_path("prefix_match_map", prefixes, default))
    return {"name": domain or "front", "domains": [domain or "*"], **(found or {})}


def make_route(owner: str, fragment: Fragment, route: Route) -> Json:
    """One prefix: where to, who is asked, what is changed on the way."""
    if route.redirect is not None:
        return {"match": {"prefix": route.prefix}, "redirect": _elsewhere(route.redirect)}
    fallbacks = {cluster.name for cluster in fragment.clusters if cluster.fallback is not None}
    targets = [
        (with_fallback(full_name(owner, name)) if name in fallbacks else full_name(owner, name), weight)
        for name, weight in route.targets
    ]
    action: Json = {"timeout": "0s", "retry_policy": _retries(bool(fallbacks & {n for n, _ in route.targets}))}
    if len(targets) == 1:
        action["cluster"] = targets[0][0]
    else:
        weighted = [{"name": name, "weight": weight} for name, weight in targets]
        action["weighted_clusters"] = {"clusters": weighted}
    if route.rewrite is not None:
        action["prefix_rewrite"] = route.rewrite
    if route.host is not None:
        action["host_rewrite_literal"] = route.host
    made: Json = {"match": {"prefix": route.prefix}, "route": action}
    if route.strip:
        made["request_headers_to_remove"] = list(route.strip)
    if route.add:
        made["request_headers_to_add"] = [
            {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for name, value in route.add
        ]
    if route.auth:
        made["typed_per_filter_config"] = {
            "envoy.filters.http.ext_authz": {
                "@type": f"{_TYPE}envoy.config.route.v3.FilterConfig",
                "config": {
                    "@type": f"{_TYPE}envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                    "check_settings": {},
                },
            }
        }
    return made


def document(resources: list[Json]) -> tuple[str, str]:
    """The file that Envoy watches, and its version: a digest, so that the same content has the same version."""
    body = json.dumps(resources, separators=(",", ":"))
    version = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f'{{"version_info":"{version}","resources":{body}}}', version


def _precedence(name: str) -> tuple[int, str]:
    return (PRECEDENCE.index(name) if name in PRECEDENCE else len(PRECEDENCE)), name


def with_fallback(name: str) -> str:
    """The name of the pair of a cluster and its fallback."""
    return f"{name}|fallback"


def _discovery(address: str) -> Json:
    if not address.startswith("unix:"):
        try:
            ip_address(split_address(address)[0])
        except ValueError:
            # Each address is an upstream of its own, and ours listen at IPv4: half the requests would be refused.
            return {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {"type": "STATIC"}


def _endpoint(address: str) -> Json:
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:")}}
    host, port = split_address(address)
    return {"socket_address": {"address": host, "port_value": port}}


def _breakers() -> Json:
    """As good as none: a websocket is a request for hours, and a crash retries all that were under way."""
    limits = {"max_connections": _UNLIMITED, "max_pending_requests": _UNLIMITED, "max_requests": _UNLIMITED}
    return {"thresholds": [{**limits, "max_retries": 1024}]}


def _retries(fallback: bool) -> Json:
    """Ask again where nothing was listening: a service that restarts costs a moment, not an error page.

    With a fallback also where the connection broke before the answer: a prediction may be asked twice.
    """
    if not fallback:
        return {
            "retry_on": "connect-failure,refused-stream",
            "num_retries": 5,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
        }
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 3,
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }


def _add_slash(bare: str) -> Json:
    return {
        "match": {"prefix": bare},
        "redirect": {"path_redirect": f"{bare}/", "response_code": "TEMPORARY_REDIRECT"},
    }


def _elsewhere(address: str) -> Json:
    """The same path and query at another address."""
    parts = urlsplit(address)
    redirect: Json = {
        "scheme_redirect": parts.scheme,
        "host_redirect": parts.hostname,
        "response_code": "TEMPORARY_REDIRECT",
    }
    return redirect if parts.port is None else {**redirect, "port_redirect": parts.port}


def _action(route: Json) -> Json:
    return {"action": {"name": "route", "typed_config": {"@type": f"{_TYPE}envoy.config.route.v3.Route", **route}}}


def _by_path(kind: str, found: dict[str, Json], otherwise: Json | None) -> Json | None:
    """A tree on the path with `otherwise` for the rest; Envoy refuses a map without entries."""
    if not found:
        return otherwise
    matcher: Json = {
        "matcher_tree": {
            "input": {
                "name": "path",
                "typed_config": {
                    "@type": f"{_TYPE}envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": ":path",
                },
            },
            kind: {"map": found},
        }
    }
    if otherwise is not None:
        matcher["on_no_match"] = otherwise
    return {"matcher": matcher}
