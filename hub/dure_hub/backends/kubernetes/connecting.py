"""How a cluster is reached: by a kubeconfig, or by the service account of the pod that the portal itself is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.errors import NoCluster
from dure_hub.settings import Settings


def cluster_of(settings: Settings) -> Cluster:
    """The cluster of these settings. Nothing is read or asked before its first use."""
    return Cluster(partial(connect, settings.kubeconfig))


async def connect(kubeconfig: Path | None) -> ApiClient:
    """A client with these credentials, which it renews. Raises `NoCluster`."""
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise NoCluster(file=kubeconfig or "the pod's service account", why=str(error)) from error
    return ApiClient(configuration)
