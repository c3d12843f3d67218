"""A profile's claim is looked for before anything of a start is made. That a cluster says so: tests/cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dure_hub import hubapi
from dure_hub.backends.base import ServerWork
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import VolumeMissing
from dure_hub.backends.kubernetes.servers import KubernetesServers
from dure_hub.catalogue.profiles import Volume
from dure_hub.settings import Settings

SETTINGS = Settings(backend="kubernetes", server_image="any:1")
CLAIMS = "/api/v1/namespaces/mlops-dev/persistentvolumeclaims"


class Claims(Cluster):
    """An API server that knows these claims, and takes nothing new."""

    def __init__(self, there: Mapping[str, dict[str, Any]]) -> None:
        self.there = there

    async def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """One of them."""
        return self.there.get(path.removeprefix(f"{CLAIMS}/"))

    async def create(self, path: str, body: Mapping[str, Any]) -> bool:
        """Nothing is to be made."""
        pytest.fail(f"{body['kind']} was made")


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({}, "there is none of that name"),
        ({"imagenet": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}}, "it is being deleted"),
        ({"imagenet": {"metadata": {}, "status": {"phase": "Lost"}}}, "its volume is lost"),
    ],
)
async def test_a_claim_that_cannot_be_used_is_named_and_nothing_is_made(
    there: dict[str, dict[str, Any]], why: str
) -> None:
    servers = KubernetesServers(SETTINGS, Claims({"scratch": {"metadata": {}}, **there}))
    volumes = (Volume("scratch", "/mnt/scratch"), Volume("imagenet", "/data/imagenet"))
    work = ServerWork("01L", "ana", Path("/"), {}, volumes=volumes)
    with pytest.raises(VolumeMissing) as refused:
        await anext(servers.start(work))
    said = refused.value.text("en")
    for word in ("imagenet", "/data/imagenet", "mlops-dev", why):
        assert word in said, said
    assert why not in refused.value.text("ko"), "it is said in Korean, too"
    assert refused.value.status not in hubapi._AWAY, "else the portal took the hub for away, and tried for ever"
    assert "kubectl -n mlops-dev get pvc" in refused.value.advice("en")
