"""Where homes can be used, as volumes say it. That a scheduler sees it the same: tests/cluster/test_starts.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused
from dure_hub.backends.kubernetes.homes import Homes, satisfies, terms_of
from tests.unit.kubernetes.objects import node

ZONE = "topology.kubernetes.io/zone"
NODES = [
    node("n1", labels={ZONE: "a", "rank": "3"}),
    node("n2", labels={ZONE: "b"}),
    node("n3", labels={ZONE: "b"}),
]


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def where(*terms: Mapping[str, Any]) -> set[str]:
    return {one["metadata"]["name"] for one in NODES if satisfies(one, terms)}


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (expression(ZONE, "In", "a", "c"), {"n1"}),
        (expression(ZONE, "NotIn", "a"), {"n2", "n3"}),
        (expression("rank", "Exists"), {"n1"}),
        (expression("rank", "DoesNotExist"), {"n2", "n3"}),
        (expression("rank", "NotIn", "4"), {"n1", "n2", "n3"}),
        (expression("rank", "Gt", "2"), {"n1"}),
        (expression("rank", "Lt", "3"), set()),
    ],
)
def test_a_requirement_is_judged_as_the_scheduler_does(wanted: Mapping[str, Any], nodes: set[str]) -> None:
    assert where({"matchExpressions": [wanted]}) == nodes


def test_one_term_is_enough_and_all_of_it_must_hold() -> None:
    both = [expression(ZONE, "In", "b"), expression("rank", "Exists")]
    assert where({"matchExpressions": both}) == set()
    named = {"matchFields": [expression("metadata.name", "In", "n3")]}
    assert where({"matchExpressions": both}, named) == {"n3"}
    assert where({}) == set()
    assert where() == set()


class Volumes(Cluster):
    """Ann's home is on n1, Ben's has no volume yet, Cho's can be used anywhere, Dan has none."""

    def __init__(self) -> None:
        super().__init__(lambda: connect(None))
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.claims: dict[str, dict[str, Any]] = {
            "home-ann": {"volumeName": "of-ann"},
            "home-ben": {},
            "home-cho": {"volumeName": "of-cho"},
        }

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """A claim of people's namespace, or the volume of one."""
        self.asked.append(path)
        if self.error is not None and "persistentvolumes/" in path:
            raise self.error
        name = path.rpartition("/")[2]
        if path.startswith("/api/v1/namespaces/dev/persistentvolumeclaims/"):
            return {"spec": self.claims[name]} if name in self.claims else None
        terms = [{"matchExpressions": [expression("rank", "Exists")]}]
        return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if name == "of-ann" else {}}


async def test_only_who_has_a_home_that_is_bound_to_nodes_is_bound_to_them() -> None:
    cluster = Volumes()
    homes = Homes(cluster, "dev")
    assert await homes.of(["ann", "ben", "cho", "dan"], NODES) == {"ann": frozenset({"n1"})}
    cluster.asked.clear()
    assert await homes.of(["ann", "cho"], NODES[1:]) == {"ann": frozenset()}, "nodes come and go, volumes stay"
    assert cluster.asked == []
    cluster.claims["home-ben"] = {"volumeName": "of-ann"}
    assert await homes.of(["ben"], NODES) == {"ben": frozenset({"n1"})}, "his first pod has got him one"


async def test_a_volume_that_may_not_be_read_binds_nobody_and_is_not_asked_for_all_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Volumes()
    cluster.error = ClusterRefused(why="persistentvolumes is forbidden")
    homes = Homes(cluster, "dev")
    for _ in range(3):
        assert await homes.of(["ann"], NODES) == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "persistentvolumes is forbidden" in caplog.text


async def test_while_the_cluster_is_away_nothing_new_is_known() -> None:
    cluster = Volumes()
    homes = Homes(cluster, "dev")
    cluster.error = ClusterAway(why="refused")
    assert await homes.of(["ann"], NODES) == {}
    cluster.error = None
    assert await homes.of(["ann"], NODES) == {"ann": frozenset({"n1"})}


def test_a_volume_without_affinity_is_everywhere() -> None:
    assert terms_of({"spec": {}}) is None
