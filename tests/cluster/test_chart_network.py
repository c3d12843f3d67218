"""Who reaches whom, computed from the chart's policies. That they are enforced is the cluster network's matter."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster import helm
from tests.cluster.reach import End, Place, Pod, Policy, reaches

pytestmark = pytest.mark.anywhere

PLATFORM = "mlops-platform"
API = "10.96.0.1"
PODS: dict[str, Pod] = {
    "server": Pod("server", "mlops-dev", "10.1.0.1", {"dure/kind": "server"}),
    "neighbour": Pod("neighbour", "mlops-dev", "10.1.0.2", {"dure/kind": "server"}),
    "job": Pod("job", "mlops-training", "10.1.1.1", {"dure/kind": "job"}),
    "other-job": Pod("other-job", "mlops-training", "10.1.1.2", {"dure/kind": "job"}),
    "model": Pod("model", "mlops-serving", "10.1.2.1", {"dure/kind": "model"}),
    "portal": Pod("portal", PLATFORM, "10.1.3.1", {"dure/part": "portal"}),
    "envoy": Pod("envoy", PLATFORM, "10.1.3.2", {"dure/part": "envoy"}),
    "postgresql": Pod("postgresql", PLATFORM, "10.1.3.3", {"dure/part": "postgresql"}),
    "restore": Pod("restore", PLATFORM, "10.1.3.4", {"dure/part": "restore"}),
    "stray": Pod("stray", PLATFORM, "10.1.3.9", {}),
    "dns": Pod("dns", "kube-system", "10.1.4.1", {"k8s-app": "kube-dns"}),
    "local-dns": Pod("local-dns", "kube-system", "10.1.4.2", {"k8s-app": "node-local-dns"}),
    "prometheus": Pod("prometheus", "monitoring", "10.1.5.1", {}),
    "stranger": Pod("stranger", "default", "10.1.6.1", {}),
}
PLACES = {
    one.name: one
    for one in (
        Place("api", API),
        Place("cache", "169.254.20.10"),
        Place("metadata", "169.254.169.254"),
        Place("metadata6", "fd00:ec2::254"),
        Place("intranet", "192.168.7.7"),
        Place("outside", "203.0.113.9"),
        Place("outside6", "2001:db8::9"),
    )
}
ENDS: dict[str, End] = {**PODS, **PLACES}
PORTS = {
    "server": (8888,),
    "neighbour": (8888, 22),
    "job": (8080,),
    "other-job": (29500,),
    "model": (8080,),
    "portal": (22, 8081, 8082, 8083, 8084, 8085),
    "envoy": (22, 8000, 8001, 9901),
    "postgresql": (22, 5432),
    "restore": (80,),
    "stray": (80,),
    "dns": (22, 53),
    "local-dns": (22, 53),
    "cache": (22, 53, 8080),
    "prometheus": (9090,),
    "stranger": (80,),
    "api": (443,),
    "metadata": (80,),
    "metadata6": (80,),
    "intranet": (443, 5432),
    "outside": (443, 25),
    "outside6": (443,),
}
"""What listens where; 22 stands for what nobody is to reach."""

NAMES = ["cache:53", "dns:53", "local-dns:53"]
OUTSIDE = ["outside:25", "outside:443", "outside6:443"]
TABLE = {
    # a person's server: never its neighbours; hub, portal and MLflow through Envoy, where it believes nobody
    "server": [*NAMES, "envoy:8001", *OUTSIDE],
    "neighbour": [*NAMES, "envoy:8001", *OUTSIDE],
    "job": [*NAMES, "envoy:8001", *OUTSIDE],
    "other-job": [*NAMES, "envoy:8001", *OUTSIDE],
    "model": [*NAMES, "envoy:8001"],
    "portal": [
        *("api:443", *NAMES, "envoy:8001", "envoy:9901", "model:8080", "neighbour:22", "neighbour:8888"),
        *("postgresql:5432", "server:8888", *OUTSIDE),
    ],
    "envoy": [
        *(*NAMES, "model:8080", "neighbour:22", "neighbour:8888"),
        *("portal:8081", "portal:8082", "portal:8083", "portal:8084", "portal:8085", "server:8888"),
    ],
    "postgresql": [],
    "restore": [*NAMES, "postgresql:5432"],
    "stray": [],
}
"""Whom the pods of the portal's four namespaces reach."""
FROM_ELSEWHERE = {
    "stranger": ["envoy:8000", "envoy:8001"],
    "prometheus": ["envoy:8000", "envoy:8001", "portal:8082"],
    "outside": ["envoy:8000", "envoy:8001"],
}
"""Whom others reach within them."""


@pytest.fixture(scope="module")
def policies() -> list[Policy]:
    """Those of the minimal overlay, with the API server's address."""
    return policies_of()


def policies_of(**changes: Any) -> list[Policy]:
    """What the chart renders."""
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")
    network = {"apiServer": {"cidrs": [f"{API}/32"]}, **changes}
    return [one for one in helm.template("minimal", values={"networkPolicy": network}) if is_policy(one)]


def is_policy(one: dict[str, Any]) -> bool:
    """Whether it is one."""
    return bool(one["kind"] == "NetworkPolicy")


def reached(policies: Sequence[Policy], source: str, among: Sequence[str] = tuple(ENDS)) -> list[str]:
    """`target:port`, sorted: names are asked for by UDP."""
    return sorted(
        f"{target}:{port}"
        for target in among
        for port in PORTS[target]
        if target != source
        and reaches(policies, ENDS[source], ENDS[target], port, "UDP" if f"{target}:53" in NAMES else "TCP")
    )


def whole(policies: Sequence[Policy]) -> dict[str, list[str]]:
    """The table as these policies make it."""
    ours = [name for name, pod in PODS.items() if pod.namespace.startswith("mlops-")]
    table = {name: reached(policies, name) for name in TABLE}
    return table | {name: reached(policies, name, ours) for name in FROM_ELSEWHERE}


def test_who_reaches_whom(policies: list[Policy]) -> None:
    assert whole(policies) == {name: sorted(found) for name, found in (TABLE | FROM_ELSEWHERE).items()}


LETS_IN = {
    "server": ["envoy:8888", "portal:8888"],
    "neighbour": ["envoy:22", "envoy:8888", "portal:22", "portal:8888"],
    "job": [],
    "other-job": [],
    "model": ["envoy:8080", "portal:8080"],
    "portal": ["prometheus:8082", *(f"envoy:{port}" for port in range(8081, 8086))],
    "envoy": ["portal:9901", *(f"{name}:{port}" for name in ENDS if name != "envoy" for port in (8000, 8001))],
    "postgresql": ["portal:5432", "restore:5432"],
    "restore": [],
    "stray": [],
}
"""Whom our pods would let in, whatever these may do by themselves: `source:port`."""


def test_the_way_in_is_as_narrow_as_the_way_out(policies: list[Policy]) -> None:
    """Where a policy on one side were missing, the other one still holds."""
    entrances = [{**one, "spec": {**one["spec"], "policyTypes": ["Ingress"]}} for one in policies]
    found = {
        target: sorted(
            f"{source}:{port}"
            for source in ENDS
            for port in PORTS[target]
            if source != target and reaches(entrances, ENDS[source], ENDS[target], port)
        )
        for target in LETS_IN
    }
    assert found == {target: sorted(sources) for target, sources in LETS_IN.items()}


def test_each_policy_counts(policies: list[Policy]) -> None:
    """Without any one of them the table is another; only in people's namespaces the general one is spare."""
    before = whole(policies)
    spare = []
    for number, policy in enumerate(policies):
        if whole(policies[:number] + policies[number + 1 :]) == before:
            spare.append((policy["metadata"]["namespace"], policy["metadata"]["name"]))
    assert spare == [(f"mlops-{kind}", "dure-nothing") for kind in ("dev", "training", "serving")]


def test_each_rule_counts(policies: list[Policy]) -> None:
    """No rule is there for nothing, and none hides behind another."""
    before = whole(policies)
    for at, policy in enumerate(policies):
        for way in ("ingress", "egress"):
            for number in range(len(policy["spec"].get(way) or ())):
                changed = copy.deepcopy(policies)
                del changed[at]["spec"][way][number]
                assert whole(changed) != before, (policy["metadata"], way, number)


@pytest.mark.parametrize("closed", ["169.254.169.254/32", "fd00:ec2::254/128"])
def test_the_metadata_addresses_are_closed_by_name(policies: list[Policy], closed: str) -> None:
    """Also where somebody takes link-local addresses off the private ones."""
    changed = policies_of(private=["10.0.0.0/8"])
    server = ENDS["server"]
    for name in ("metadata", "metadata6"):
        assert not reaches(changed, server, PLACES[name], 80)
    assert reaches(changed, server, PLACES["intranet"], 443), "else that change did nothing"
    for policy in changed:
        for rule in policy["spec"].get("egress") or ():
            for block in (peer["ipBlock"] for peer in rule.get("to") or () if "ipBlock" in peer):
                if (":" in block["cidr"]) == (":" in closed) and block["cidr"].endswith("/0"):
                    assert closed in block["except"], policy["metadata"]


def test_without_an_address_of_the_api_server_the_portal_alone_reaches_it() -> None:
    changed = policies_of(apiServer={"cidrs": []})
    assert reaches(changed, ENDS["portal"], PLACES["api"], 443)
    for name in ("server", "job", "model", "envoy", "stray", "postgresql"):
        assert not reaches(changed, ENDS[name], PLACES["api"], 443), name


def test_an_api_server_outside_is_closed_to_people() -> None:
    """As a cluster's that a provider runs: its address is one of the outside."""
    address = PLACES["outside"].address
    changed = policies_of(apiServer={"cidrs": [f"{address}/32"]})
    assert not reaches(changed, ENDS["server"], PLACES["outside"], 443)
    assert reaches(changed, ENDS["portal"], PLACES["outside"], 443)


def test_a_restore_reaches_the_database_that_the_portal_uses() -> None:
    """Also one that others keep; where there is none, it needs to reach nobody."""
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")
    egress = [{"to": [{"ipBlock": {"cidr": "192.168.7.7/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]}]
    values = {"networkPolicy": {"portalEgress": egress}, "postgresql": {"enabled": False}}
    theirs = {**values, "database": {"url": "postgresql+psycopg://dure@db.example.com/dure"}}
    for given, there in ((values, False), (theirs, True)):
        changed = [one for one in helm.template("minimal", values=given) if is_policy(one)]
        assert reaches(changed, ENDS["restore"], PLACES["intranet"], 5432) is there
        assert not reaches(changed, ENDS["restore"], PLACES["intranet"], 443)
        assert not reaches(changed, ENDS["restore"], ENDS["server"], 8888)


def test_without_policies_everybody_reaches_everybody() -> None:
    """The evaluator itself: it is the policies that close."""
    assert policies_of(enabled=False) == []
    assert reaches([], ENDS["server"], ENDS["neighbour"], 22)
