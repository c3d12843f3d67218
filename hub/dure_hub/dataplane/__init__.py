"""The one data plane: Envoy, and the only writer of its files.

Each writer owns a fragment of the route table (`services`, `endpoints`, `hub`). They are merged under a file
lock, written as two files that Envoy watches, and published once Envoy says that it took them. An Envoy elsewhere
asks the portal for what is in these files, and says with its next question what it took.
"""

from dure_hub.dataplane.bootstrap import command, write_bootstrap
from dure_hub.dataplane.errors import RoutesRefused
from dure_hub.dataplane.fragments import Cluster, Fragment, Route
from dure_hub.dataplane.plane import Dataplane
from dure_hub.dataplane.taking import takers_of
from dure_hub.settings import Settings

__all__ = ["Cluster", "Dataplane", "Fragment", "Route", "RoutesRefused", "alive", "command", "write_bootstrap"]


async def alive(settings: Settings) -> bool:
    """Whether an Envoy is LIVE: this machine's, asked on its admin socket, or one elsewhere, which asks us."""
    return await takers_of(settings).live()
