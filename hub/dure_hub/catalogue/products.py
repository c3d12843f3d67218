"""GPU models by the product that a node's labels name: all that a cluster says of a card, without its PCI id.

NVIDIA's GPU feature discovery writes `nvidia.com/gpu.product`: the driver's name of the card with `-` for spaces,
and behind it `-SHARED` where the card is shared, or `-MIG-1g.10gb` where every card of the node is cut into that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dure_hub.catalogue.gpus import GpuModel, by_key

_KEYS: Mapping[str, str] = {
    "NVIDIA-GeForce-GTX-1080": "gtx-1080",
    "NVIDIA-GeForce-GTX-1080-Ti": "gtx-1080-ti",
    "NVIDIA-TITAN-Xp": "titan-xp",
    "Tesla-P100-PCIE-16GB": "p100-pcie-16",
    "Tesla-P100-SXM2-16GB": "p100-sxm2-16",
    "Tesla-V100-PCIE-16GB": "v100-pcie-16",
    "Tesla-V100-SXM2-16GB": "v100-sxm2-16",
    "Tesla-V100-PCIE-32GB": "v100-pcie-32",
    "Tesla-V100-SXM2-32GB": "v100-sxm2-32",
    "NVIDIA-GeForce-RTX-2080": "rtx-2080",
    "NVIDIA-GeForce-RTX-2080-Ti": "rtx-2080-ti",
    "Tesla-T4": "t4",
    "NVIDIA-GeForce-RTX-3080": "rtx-3080",
    "NVIDIA-GeForce-RTX-3090": "rtx-3090",
    "NVIDIA-A10": "a10",
    "NVIDIA-A10G": "a10g",
    "NVIDIA-A40": "a40",
    "NVIDIA-RTX-A6000": "rtx-a6000",
    "NVIDIA-A30": "a30",
    "NVIDIA-A100-PCIE-40GB": "a100-pcie-40",
    "NVIDIA-A100-SXM4-40GB": "a100-sxm-40",
    "NVIDIA-A100-80GB-PCIe": "a100-pcie-80",
    "NVIDIA-A100-SXM4-80GB": "a100-sxm-80",
    "NVIDIA-GeForce-RTX-4080": "rtx-4080",
    "NVIDIA-GeForce-RTX-4090": "rtx-4090",
    "NVIDIA-L4": "l4",
    "NVIDIA-L40": "l40",
    "NVIDIA-L40S": "l40s",
    "NVIDIA-H100-PCIe": "h100-pcie-80",
    "NVIDIA-H100-80GB-HBM3": "h100-sxm-80",
    "NVIDIA-H100-NVL": "h100-nvl-94",
    "NVIDIA-H200": "h200-sxm-141",
    "NVIDIA-H200-NVL": "h200-nvl-141",
    "NVIDIA-H20": "h20-96",
    "NVIDIA-GH200-480GB": "gh200-96",
    "NVIDIA-GH200-144G-HBM3e": "gh200-144",
    "NVIDIA-GeForce-RTX-5090": "rtx-5090",
    "NVIDIA-B200": "b200-180",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "rtx-pro-6000",
    "NVIDIA-RTX-PRO-6000-Blackwell-Workstation-Edition": "rtx-pro-6000",
    "NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition": "rtx-pro-6000-max-q",
}


def plain(product: str) -> str:
    """The card's own name, without how it is shared or cut."""
    return re.sub(r"(-SHARED|-MIG-.+)+$", "", product)


def cut_into(product: str) -> str | None:
    """The MIG profile that every card of the node is cut into; None where they are not, or not all into one."""
    found = re.search(r"-MIG-(\d+g\.\d+gb\S*?)(?:-SHARED)?$", product)
    return in_catalogue(found[1]) if found else None


def in_catalogue(mig: str) -> str:
    """A MIG profile's name here, from that of a resource or label, in which a `+` may not stand."""
    return re.sub(r"gb\.(?=\w)", "gb+", mig)


def in_labels(mig: str) -> str:
    """A MIG profile's name as resources and labels write it."""
    return mig.replace("+", ".")


def by_product(product: str) -> GpuModel | None:
    """The model of this product; None where it is in no entry: then it is offered whole, and without a price."""
    key = _KEYS.get(plain(product))
    return by_key(key) if key is not None else None
