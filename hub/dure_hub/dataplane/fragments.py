"""Routes and clusters as their writers say them, and how they lie on disk.

A fragment is checked when it is published, so that a wrong one is refused with a sentence before Envoy sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dure.errors import BadRequest

PRECEDENCE = ("services", "endpoints", "hub")
"""Where two fragments give the same prefix, the first one here wins; unlisted ones come last, by name."""

_DOMAIN = re.compile(r"|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)+", flags=re.ASCII)


@dataclass(frozen=True)
class Cluster:
    """Where requests go: `127.0.0.1:1234` or `unix:/path`. `fallback` takes over where this one is not there."""

    name: str
    address: str
    fallback: str | None = None


@dataclass(frozen=True)
class Route:
    """What happens to paths that begin with `prefix`, which ends with a slash; `/` is the default route.

    `targets` are (cluster of the same fragment, weight). With `auth` the portal is asked first. `rewrite` takes
    the prefix's place; `strip` names request headers removed towards the upstream, `add` gives those set there;
    `host` replaces the Host header. `data` is kept and given back, and means nothing here.

    `domain` is the host it is for, `a.dure.example` or `*.dure.example`; empty is every host that no route names.
    A host that a route names has those routes alone, and else the `/` of the `*.` host that it is under.
    `redirect` is an address (`https://dure.example`) to which what comes is sent, in the place of targets.
    """

    prefix: str
    targets: tuple[tuple[str, int], ...]
    auth: bool = False
    rewrite: str | None = None
    strip: tuple[str, ...] = ()
    host: str | None = None
    domain: str = ""
    redirect: str | None = None
    add: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fragment:
    """One writer's part of the route table. Cluster names and prefixes are unique within it."""

    clusters: tuple[Cluster, ...] = ()
    routes: tuple[Route, ...] = ()

    def check(self) -> None:
        """Refuse, with a sentence, what could not be routed."""
        clusters = {cluster.name: cluster for cluster in self.clusters}
        _demand(len(clusters) == len(self.clusters), "clusters", sorted(clusters), "each name occurs once")
        prefixes = [route.domain + route.prefix for route in self.routes]
        _demand(len(set(prefixes)) == len(prefixes), "routes", prefixes, "each prefix occurs once")
        for cluster in self.clusters:
            _check_cluster(cluster, clusters)
        for route in self.routes:
            _check_route(route, clusters)

    def without(self, unwanted: Callable[[Route], bool]) -> Fragment:
        """The same without some routes, and the clusters that only those named."""
        routes = tuple(route for route in self.routes if not unwanted(route))
        named = {name for route in routes for name, _ in route.targets}
        named |= {one.fallback for one in self.clusters if one.name in named and one.fallback is not None}
        return Fragment(tuple(one for one in self.clusters if one.name in named), routes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        return {"clusters": [vars(one) for one in self.clusters], "routes": [vars(one) for one in self.routes]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fragment:
        """What `to_json` wrote."""
        return cls(
            clusters=tuple(Cluster(**cluster) for cluster in value["clusters"]),
            routes=tuple(_route(route) for route in value["routes"]),
        )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a TCP address; `[::1]:80` is ("::1", 80)."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or not parts.port or parts.path or parts.username:
        raise ValueError(address)
    return parts.hostname, parts.port


def _route(value: Mapping[str, Any]) -> Route:
    targets = tuple((str(name), int(weight)) for name, weight in value["targets"])
    add = tuple((str(name), str(text)) for name, text in value.get("add", ()))
    return Route(**{**value, "targets": targets, "strip": tuple(value["strip"]), "add": add})


def _check_cluster(cluster: Cluster, clusters: Mapping[str, Cluster]) -> None:
    if cluster.address.startswith("unix:"):
        path = cluster.address.removeprefix("unix:")
        _demand(path.startswith("/"), "address", cluster.address, "a socket's path is absolute")
        _demand(len(path.encode()) <= 107, "address", cluster.address, "a socket's path has at most 107 bytes")
    else:
        try:
            split_address(cluster.address)
        except ValueError:
            _demand(False, "address", cluster.address, "it is host:port or unix:/path")
    if cluster.fallback is not None:
        known = cluster.fallback in clusters and cluster.fallback != cluster.name
        _demand(known, "fallback", cluster.fallback, "it names another cluster of the fragment")


def _check_route(route: Route, clusters: Mapping[str, Cluster]) -> None:
    prefix = route.prefix
    closed = prefix.startswith("/") and prefix.endswith("/") and "//" not in prefix
    _demand(closed and not set("?#") & set(prefix), "prefix", prefix, "it begins and ends with one slash")
    _demand(_DOMAIN.fullmatch(route.domain) is not None, "domain", route.domain, "it is a host without a port")
    if route.redirect is not None:
        _check_redirect(route)
        return
    for name, weight in route.targets:
        _demand(name in clusters, "targets", name, "it names a cluster of the fragment")
        _demand(weight >= 0, "targets", weight, "a weight is 0 or more")
    total = sum(weight for _, weight in route.targets)
    _demand(total > 0, "targets", route.targets, "the weights add up to more than 0")
    if route.rewrite is not None:
        closed = route.rewrite.startswith("/") and route.rewrite.endswith("/")
        _demand(closed, "rewrite", route.rewrite, "it begins and ends with a slash")


def _check_redirect(route: Route) -> None:
    parts = urlsplit(route.redirect or "")
    whole = (
        parts.scheme in ("http", "https") and parts.hostname and not (parts.path or parts.query or parts.username)
    )
    _demand(bool(whole), "redirect", route.redirect, "it is http://host:port or https://host:port")
    _demand(not route.targets, "targets", route.targets, "what is redirected has none")


def _demand(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise BadRequest(field=name, value=value, rule=rule)
