"""GPU models by PCI id."""

from __future__ import annotations

import pytest

from dure_hub.catalogue import gpus


def test_no_two_models_share_a_key_or_an_id() -> None:
    assert len(gpus.keys()) == len(set(gpus.keys())) == len(gpus.MODELS)
    ids = [number for model in gpus.MODELS for number in model.pci_ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("number", "key"),
    [
        (0x2330, "h100-sxm-80"),
        (0x2331, "h100-pcie-80"),
        (0x20B2, "a100-sxm-80"),
        (0x20F1, "a100-pcie-40"),
        (0x20B1, "a100-pcie-40"),
        (0x20B0, "a100-sxm-40"),
        (0x20F6, "a100-pcie-40"),
        (0x2322, "h100-pcie-80"),
        (0x2324, "h100-sxm-80"),
        (0x2BB1, "rtx-pro-6000"),
        (0x2BB4, "rtx-pro-6000-max-q"),
        (0x26841, None),
        (0x2684, "rtx-4090"),
        (0x1DB6, "v100-pcie-32"),
        (0x0001, None),
    ],
)
def test_a_model_is_found_by_its_pci_id(number: int, key: str | None) -> None:
    found = gpus.by_pci(number)
    assert (found.key if found else None) == key


@pytest.mark.parametrize(
    "key",
    [
        "gtx-1080", "gtx-1080-ti", "titan-xp", "rtx-2080", "rtx-2080-ti", "rtx-3080", "rtx-3090", "rtx-4080",
        "rtx-4090", "v100-pcie-16", "v100-sxm2-32", "a100-pcie-40", "a100-sxm-80", "h100-pcie-80", "h100-sxm-80",
        "a30", "l4", "l40s", "h100-nvl-94", "gh200-96", "h200-sxm-141", "b200-180", "rtx-pro-6000",
        "a10g", "a40", "rtx-a6000", "l40", "h20-96", "rtx-5090",
    ],
)  # fmt: skip
def test_the_catalogue_knows(key: str) -> None:
    model = gpus.by_key(key)
    assert model is not None
    assert model.memory_mb > 0
    assert model.sms > 0
    assert model.tdp_w > 0


def test_only_hopper_and_later_say_how_busy_an_instance_is() -> None:
    said = {model.architecture: model.measures_mig for model in gpus.MODELS if model.grid is not None}
    assert said == {"Ampere": False, "Hopper": True, "Blackwell": True}
