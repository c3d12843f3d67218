"""Who reaches whom under network policies: a pure evaluator of what the API says they mean.

A policy counts for a pod that it selects, and for the directions that it names. A pod that no policy selects in a
direction is open there; else what one of them lets through passes. A connection needs both: the way out of the one
and the way into the other. What is no pod has no policies of its own.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Pod:
    """A pod with its address. Its namespace has the one label that every namespace has."""

    name: str
    namespace: str
    address: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What is no pod: a server outside, the API server, a metadata service."""

    name: str
    address: str


End = Pod | Place


def reaches(policies: Sequence[Policy], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection from `source` to this port of `target` is let through."""
    out = _passes(policies, "egress", source, target, port, protocol)
    return out and _passes(policies, "ingress", target, source, port, protocol)


def _passes(policies: Sequence[Policy], way: str, own: End, other: End, port: int, protocol: str) -> bool:
    if isinstance(own, Place):
        return True
    counting = [one for one in policies if _counts(one, way, own)]
    if not counting:
        return True
    rules = (rule for one in counting for rule in one["spec"].get(way) or ())
    return any(_lets(rule, way, one_of(counting), other, port, protocol) for rule in rules)


def one_of(policies: Sequence[Policy]) -> str:
    """The namespace that they are all in."""
    (namespace,) = {str(one["metadata"]["namespace"]) for one in policies}
    return namespace


def _counts(policy: Policy, way: str, pod: Pod) -> bool:
    spec = policy["spec"]
    ways = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    here = policy["metadata"]["namespace"] == pod.namespace
    return here and way.capitalize() in ways and _selects(spec["podSelector"], pod.labels)


def _lets(rule: Mapping[str, Any], way: str, namespace: str, other: End, port: int, protocol: str) -> bool:
    peers = rule.get("to" if way == "egress" else "from")
    who = not peers or any(_is(peer, namespace, other) for peer in peers)
    ports = rule.get("ports")
    return who and (not ports or any(_names(one, port, protocol) for one in ports))


def _is(peer: Mapping[str, Any], namespace: str, other: End) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ip_address(other.address)
        closed = (ip_network(one) for one in block.get("except") or ())
        return address in ip_network(block["cidr"]) and not any(address in one for one in closed)
    if isinstance(other, Place):
        return False
    where = peer.get("namespaceSelector")
    there = other.namespace == namespace if where is None else _selects(where, _labels_of(other.namespace))
    return there and _selects(peer.get("podSelector") or {}, other.labels)


def _labels_of(namespace: str) -> Labels:
    return {"kubernetes.io/metadata.name": namespace}


def _names(one: Mapping[str, Any], port: int, protocol: str) -> bool:
    if one.get("protocol", "TCP") != protocol:
        return False
    first = one.get("port")
    assert first is None or isinstance(first, int), "names of ports are not looked up here"
    return first is None or first <= port <= one.get("endPort", first)


def _selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    assert not selector.get("matchExpressions"), "expressions are not evaluated here"
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
