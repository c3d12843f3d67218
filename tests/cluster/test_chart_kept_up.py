"""The chart where it is kept up for long: images that stay what they are, pods apart, names of Secrets, rights for
Kueue. Helm alone is needed, and no cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cluster import helm
from tests.cluster.charted import containers, of_kind, workloads
from tests.cluster.helm import OVERLAYS, Refused, template

pytestmark = pytest.mark.anywhere


@pytest.fixture(autouse=True)
def built() -> None:
    """Helm, else nothing can be said."""
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_image_moves_by_itself(overlay: str) -> None:
    everything = {"redis": {"enabled": True}, "minio": {"enabled": True}}
    for name, one in containers(template(overlay, values=everything)):
        _, colon, tag = one["image"].rpartition("/")[2].partition(":")
        assert (bool(colon), tag not in ("", "latest")) == (True, True), f"{name}: {one['image']}"


def test_a_secret_may_have_dots_in_its_name_and_not_be_nameless() -> None:
    values = {
        "images": {"pullSecrets": ["registry.example.com"]},
        "metricsSecret": "dure.metrics",
        "podMonitors": "on",
    }
    objects = template(values=values)
    for workload in workloads(objects):
        assert workload["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry.example.com"}]
    (monitor,) = of_kind(objects, "PodMonitor").values()
    assert monitor["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]["name"] == "dure.metrics"
    for wrong in ({"images": {"pullSecrets": [""]}}, {"metricsSecret": ""}, {"metricsSecret": "A_B"}):
        with pytest.raises(Refused):
            template(values=wrong)


def _envoy(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (one for one in workloads(objects) if one["metadata"]["name"] == "dure-envoy")
    return dict(found["spec"]["template"])


def test_several_envoys_are_spread_over_nodes_and_zones_and_one_is_not() -> None:
    assert "topologySpreadConstraints" not in _envoy(template("minimal"))["spec"]
    made = _envoy(template("prod"))
    found = made["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in found] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for one in found:
        assert one["whenUnsatisfiable"] == "ScheduleAnyway", "one node left is better than none"
        assert one["labelSelector"]["matchLabels"].items() <= made["metadata"]["labels"].items(), "it counts them"


def test_all_of_the_portals_pods_have_the_priority_that_is_named() -> None:
    everything = {"redis": {"enabled": True}, "minio": {"enabled": True}, "postgresql": {"enabled": True}}
    for name in ("", "platform"):
        made = workloads(template("dev", values={**everything, "priorityClassName": name}))
        assert len(made) == 5
        for one in made:
            assert one["spec"]["template"]["spec"].get("priorityClassName", "") == name


def test_the_production_overlay_opens_the_databases_port_to_one_address() -> None:
    rules = yaml.safe_load((helm.VALUES / "prod.yaml").read_text())["networkPolicy"]["portalEgress"]
    assert all(rule.get("to") for rule in rules), "a rule without `to` is for every address there is"


def test_who_brings_quotas_to_kueue_may_change_its_objects_and_who_does_not_may_only_look() -> None:
    for seconds, verbs in ((0, {"get", "list"}), (300, {"get", "list", "create", "patch", "delete"})):
        objects = template(values={"kueue": {"applySeconds": seconds}})
        settings = of_kind(objects, "ConfigMap")[("mlops-platform", "dure-settings")]["data"]
        assert settings["DURE_KUEUE_APPLY_S"] == str(seconds)
        (role,) = of_kind(objects, "ClusterRole").values()
        queues = [rule for rule in role["rules"] if "clusterqueues" in rule["resources"]]
        assert {verb for rule in queues for verb in rule["verbs"]} == verbs
    with pytest.raises(Refused, match="kueue_apply_s"):
        template(values={"settings": {"kueue_apply_s": 60}})
    with pytest.raises(Refused, match="/kueue/applySeconds"):
        template(values={"kueue": {"applySeconds": "often"}})
