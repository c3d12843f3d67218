"""Nodes with taints that an administrator's options of KubeSpawner tolerate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.tolerations import is_tolerated, tolerations_of
from tests.unit.kubernetes.objects import Object, node

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"


def tainted(key: str, value: str = "", effect: str = "NoSchedule") -> Object:
    """A node with a GPU that keeps others away so."""
    one = node(gpu="1")
    one["spec"]["taints"] = [{"key": key, "value": value, "effect": effect}]
    return one


def example() -> dict[str, Any]:
    """The options that the page on clusters shows."""
    (found,) = (
        block["settings"]["kubespawner"]
        for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "tolerations" in str(block := yaml.safe_load(text))
    )
    assert isinstance(found, dict)
    return found


def test_the_pages_own_example_opens_nodes_with_that_taint() -> None:
    tolerations = tolerations_of(example())
    one = tainted(tolerations[0]["key"], "anything")
    (closed,), (found,) = stock.read([one], [], "p1"), stock.read([one], [], "p1", tolerations)
    assert (closed.cpu_cores, found.cpu_cores) == (0, 16)
    assert (found.devices[0].usable, found.devices[0].health) == (True, None)
    assert [len(capacity_of([one], them).gpus) for them in ((), tolerations)] == [0, 1]


def test_what_all_servers_tolerate_is_for_those_without_a_gpu_too() -> None:
    one = tainted("nvidia.com/gpu")
    everything = tolerations_of({"tolerations": [{"operator": "Exists"}]})
    assert [stock.read([one], [], "p1", them)[0].gpus_only for them in ((), everything)] == [True, False]


def test_options_of_the_whole_pod_count_and_what_is_none_does_not() -> None:
    asked = {"extra_pod_config": {"tolerations": [{"key": "sku", "operator": "Exists"}]}, "tolerations": None}
    assert tolerations_of(asked) == [{"key": "sku", "operator": "Exists"}]
    assert tolerations_of({"tolerations": "sku", "extra_pod_config": []}) == []


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": "sku", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "sku", "operator": "Equal", "value": "gpu"}, True),
        ({"key": "sku", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "sku", "value": "cpu"}, False),
        ({"key": "sku"}, False),
        ({"value": "gpu"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "sku", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_a_toleration_covers_a_taint_as_kubernetes_has_it(toleration: dict[str, str], covers: bool) -> None:
    assert is_tolerated({"key": "sku", "value": "gpu", "effect": "NoSchedule"}, [toleration]) == covers


def test_who_would_be_thrown_out_again_may_not_be_there() -> None:
    taint = {"key": "sku", "effect": "NoExecute"}
    for_ever: dict[str, Any] = {"key": "sku", "operator": "Exists"}
    assert is_tolerated(taint, [for_ever])
    assert not is_tolerated(taint, [for_ever | {"tolerationSeconds": 60}])
