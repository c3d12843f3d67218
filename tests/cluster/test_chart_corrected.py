"""What a corrected or a second installation finds: the chart's StatefulSets before the real controllers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.asking import ApiServer
from tests.cluster.charted import of_kind
from tests.cluster.helm import template
from tests.cluster.names import named
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.cluster.test_chart_applied import place_of

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"again-{name}") for name in ("dev", "training", "serving", "platform")}
PLATFORM = NAMESPACES["platform"]
NEEDED = ("ConfigMap", "LimitRange", "ResourceQuota", "Secret", "ServiceAccount")
WRONG, RIGHT = "no-such-tag", "0.1.0"


@pytest.fixture(scope="module")
def wrong(cluster: ApiServer) -> Iterator[ApiServer]:
    """The chart with an image that is not there, onto no node: no pod of it ever becomes ready."""
    for name in NAMESPACES.values():
        make_namespace(cluster, name)
    apply(cluster, WRONG)
    yield cluster
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")


def apply(cluster: ApiServer, tag: str) -> None:
    """Install or upgrade what makes the StatefulSets' pods."""
    nowhere = {"nodeSelector": {"test/for": "nothing"}}
    values: dict[str, Any] = {"namespaces": NAMESPACES, "images": {"tag": tag}, "portal": nowhere}
    values["postgresql"] = {"enabled": True, "image": f"docker.io/library/postgres:{tag}"}
    objects = template("minimal", values=values)
    sets = of_kind(objects, "StatefulSet").values()
    needed = [one for one in objects if one["kind"] in NEEDED and one["metadata"].get("namespace") == PLATFORM]
    for one in (*needed, *sets):
        answer = cluster.apply(place_of(one), one)
        assert answer.is_success, answer.text


@pytest.mark.parametrize("name", ["dure-portal", "dure-postgresql"])
def test_a_pod_that_was_never_ready_is_replaced_by_a_corrected_one(wrong: ApiServer, name: str) -> None:
    """Nobody has to remove it by hand (kubernetes#67250)."""
    where = f"/api/v1/namespaces/{PLATFORM}/pods/{name}-0"

    def tag() -> str:
        answer = wrong.api.get(where)
        if answer.status_code == 404:
            return ""
        return str(answer.raise_for_status().json()["spec"]["containers"][0]["image"].rpartition(":")[2])

    apply(wrong, WRONG)
    until(lambda: tag() == WRONG, f"{name}'s pod of an image that is not there")
    apply(wrong, RIGHT)
    until(lambda: tag() == RIGHT, f"{name}'s pod of the right image")
