"""Processes of this machine, and its GPUs by NVML. Only app and supervisor name these classes."""

from dure_hub.backends.embedded.artifacts import FolderArtifacts
from dure_hub.backends.embedded.executions import EmbeddedExecutions
from dure_hub.backends.embedded.inventory import EmbeddedInventory, choose
from dure_hub.backends.embedded.servers import EmbeddedServers
from dure_hub.backends.embedded.serving import EmbeddedServing
from dure_hub.backends.embedded.simulated import SimulatedInventory
from dure_hub.backends.embedded.training import EmbeddedTraining

__all__ = [
    "EmbeddedExecutions",
    "EmbeddedInventory",
    "EmbeddedServers",
    "EmbeddedServing",
    "EmbeddedTraining",
    "FolderArtifacts",
    "SimulatedInventory",
    "choose",
]
