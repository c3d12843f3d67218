"""What a place has, and how busy it is: the values that inventories give. All others import them from `base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from dure.errors import DureError


@dataclass(frozen=True)
class MigDevice:
    """A MIG instance as the driver shows it. `profile` is its name in our catalogue's grid; memory in MiB.

    Without a `profile` it is nobody's to give (somebody cut it by hand), and takes its place all the same; nor is
    one that is `barred`, for as long as that lasts (`Device.barred`). `start`
    and `size` count the grid's memory units; None where the driver does not let this user see them.
    `number` is the driver's own id of it on this GPU: it stays for as long as the instance is there.
    """

    uuid: str | None
    profile: str | None
    start: int | None = None
    size: int | None = None
    memory_mb: int | None = None
    number: int | None = None
    barred: str = ""


@dataclass(frozen=True)
class Device:
    """One physical GPU: UUID, name, memory in MiB; null is unknown.

    `pci_device` is the device's half of the PCI id (0x2330), `key` its entry in the catalogue. `carves` says
    that instances can be made and removed on it here and now. GPUs of one `group` ("": none) are joined by NVLink.
    `health` is a sentence in each language where something is wrong with it; not `usable` is what nobody is given.
    Where that passes, `barred` is why (`catalogue.machine`: `OUTSIDE`, `NODE`): people may wait for it.
    `shared` is by how many it is shared (0: given whole), and whether by MPS, where the place has settled that;
    None is as the settings say.
    """

    uuid: str
    name: str
    memory_mb: int | None
    driver: str | None = None
    mig_mode: bool | None = None
    node: str = ""
    pci_device: int | None = None
    key: str | None = None
    instances: tuple[MigDevice, ...] = ()
    carves: bool = False
    group: str = ""
    health: Mapping[str, str] | None = None
    usable: bool = True
    shared: tuple[int, bool] | None = None
    barred: str = ""


@dataclass(frozen=True)
class NodeInventory:
    """What one node has: real cores, memory in MiB, GPUs. `pool` is what it is for, "" for anything.

    `gpus_only`: it takes only what asks for a GPU. `pods` is how many it takes, None where it does not count them.
    Of all this, what is `held` by what Dure did not start is given to nobody for as long as it is there. One that
    is `closed` takes nobody for now.
    """

    name: str
    cpu_cores: int
    memory_mb: int
    devices: Sequence[Device] = ()
    pool: str = ""
    gpus_only: bool = False
    pods: int | None = None
    held_cores: float = 0.0
    held_memory_mb: int = 0
    held_pods: int = 0
    closed: bool = False


@dataclass(frozen=True)
class Inventory:
    """What one place has, all its nodes together. `why_no_gpu` says why `devices` is empty, where it is.

    A place that names no `nodes` is one node without a name. `simulated`: none of the GPUs is really there.
    `away`: it cannot be looked at just now, and this is what was seen last, to be shown and not to be given.
    """

    cpu_cores: int
    memory_mb: int
    devices: Sequence[Device] = ()
    why_no_gpu: Mapping[str, str] | None = None
    nodes: Sequence[NodeInventory] = ()
    simulated: bool = False
    away: bool = False

    @classmethod
    def of(cls, nodes: Sequence[NodeInventory], **more: Any) -> Inventory:
        """The sum of these nodes."""
        return cls(
            sum(node.cpu_cores for node in nodes),
            sum(node.memory_mb for node in nodes),
            tuple(device for node in nodes for device in node.devices),
            nodes=tuple(nodes),
            **more,
        )

    def by_node(self) -> Sequence[NodeInventory]:
        """The nodes; at least one."""
        return self.nodes or (NodeInventory("", self.cpu_cores, self.memory_mb, self.devices),)


@dataclass(frozen=True)
class Reading:
    """One GPU at a moment: MiB in use, utilisation from 0 to 1, degrees Celsius, watts. Null is unknown."""

    memory_used_mb: int | None = None
    utilisation: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class OwnUse:
    """What one lease's own processes use of a GPU that others use too: MiB, and a share of its time from 0 to 1.

    `utilisation` is the mean of the last seconds; null is unknown. Of the busiest moment since idleness was last
    judged, `least` is what was seen of them, and `most` has with it what may have been theirs: from 0 to 1 is
    unknown.
    """

    memory_used_mb: int | None = None
    utilisation: float | None = None
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True)
class Usage:
    """Processors (in cores) and memory (MiB) in use at a moment. Null is unknown."""

    cpu_cores: float | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Measures:
    """How busy a place is: its GPUs by UUID, what runs of ours by lease id, and all of it together.

    `instances` are MIG instances by their own UUID: memory and utilisation; heat and power belong to whole GPUs.
    `own` is the part of each lease in a GPU, by the GPU's UUID and lease id; ask `own_of`.
    """

    devices: Mapping[str, Reading] = field(default_factory=dict)
    leases: Mapping[str, Usage] = field(default_factory=dict)
    place: Usage = field(default_factory=Usage)
    instances: Mapping[str, Reading] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, OwnUse]] = field(default_factory=dict)

    def own_of(self, device: str, lease: str) -> OwnUse:
        """What this lease's processes use of a GPU. Of whom no process was found, only this is known: no part is
        busier than the whole."""
        found = self.own.get(device, {}).get(lease)
        if found is not None:
            return found
        whole = self.devices.get(device, Reading()).utilisation
        return OwnUse(most=1.0 if whole is None else whole)


@dataclass(frozen=True)
class Fault:
    """Something that makes a GPU unfit for use. `code` is xid, rows or ecc, `facts` are plain JSON.

    `at` is when an event of the driver's came; None is what a look finds, which may be over by the next one.
    """

    device: str
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True)
class Outsider:
    """A process on a GPU that is none of ours: its name, its account's (None: it has none), MiB of the GPU."""

    pid: int
    name: str
    user: str | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Health:
    """What is wrong with the GPUs of a place. `present` is None where the driver does not answer: nobody knows.

    `faults` are as of this look, `events` all XIDs since the looking began, told again in each look. `outsiders`
    are by GPU; a GPU that does not say who is on it, or of whom it cannot be told, has none.
    """

    present: Sequence[Device] | None = None
    faults: Sequence[Fault] = ()
    events: Sequence[Fault] = ()
    outsiders: Mapping[str, Sequence[Outsider]] = field(default_factory=dict)


NO_MIG: Mapping[str, str] = {
    "en": "MIG instances cannot be made or removed here.",
    "ko": "여기서는 MIG 인스턴스를 만들거나 제거할 수 없습니다.",
}


class MigRefused(DureError):
    """A MIG instance could not be made or removed; `why` is the sentence, in each language."""

    code, status = "mig_refused", 409
    message: ClassVar[Mapping[str, str]] = {
        "en": "GPU {device} stays cut as it is. {why}",
        "ko": "GPU {device}의 MIG 구성을 바꾸지 않았습니다. {why}",
    }
    next_step: ClassVar[Mapping[str, str]] = {
        "en": "`dure doctor` says what this portal may do with MIG.",
        "ko": "`dure doctor`가 이 포털이 MIG로 할 수 있는 일을 보여 줍니다.",
    }
