"""The one data plane: Envoy, and the only writer of its files.

Each writer owns a fragment of the route table (`services`, `endpoints`, `hub`). They are merged under a file
lock, written as two files that Envoy watches, and published once Envoy says that it took them.
"""

from dure_hub.dataplane.admin import alive
from dure_hub.dataplane.bootstrap import command, write_bootstrap
from dure_hub.dataplane.errors import RoutesRefused
from dure_hub.dataplane.fragments import Cluster, Fragment, Route
from dure_hub.dataplane.plane import Dataplane

__all__ = ["Cluster", "Dataplane", "Fragment", "Route", "RoutesRefused", "alive", "command", "write_bootstrap"]
