"""The MIG grids of NVIDIA's GPUs: legal starts and sizes as its MIG User Guide and `nvidia-smi mig -lgipp` say.

A100, H100, GH200, H200 and B200 share one table of eight memory units, with names, memory and processors of their
own. A30 has four units, RTX PRO 6000 Blackwell twelve. Memory is what `-lgip` shows for an instance, in GiB; None
where no driver's output was seen. The guide's own suffixes: `+me` has the media engines, `-me` none, `+me.all`
all of them, `+gfx` graphics.
"""

from __future__ import annotations

from collections.abc import Sequence

from dure_hub.catalogue.mig import MigGrid, MigProfile

_KINDS = (
    # driver id, compute slices, memory units, legal starts, how many a GPU takes, suffix
    (19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7, ""),
    (20, 1, 1, (0, 1, 2, 3, 4, 5, 6), 1, "+me"),
    (15, 1, 2, (0, 2, 4, 6), 4, ""),
    (14, 2, 2, (0, 2, 4), 3, ""),
    (9, 3, 4, (0, 4), 2, ""),
    (5, 4, 4, (0,), 1, ""),
    (0, 7, 8, (0,), 1, ""),
)
"""The one table of all GPUs with eight memory units. A 1g never starts at 7, a 2g never at 6."""
_NONE: tuple[float | None, ...] = (None,) * 6
_UNSEEN: tuple[int | None, ...] = (None,) * 6


def _eight(
    name: str,
    labels: str,
    gib: Sequence[float | None] = _NONE,
    sms: Sequence[int | None] = _UNSEEN,
) -> MigGrid:
    """`labels`, `gib` and `sms` are of 1g, 1g with double memory, 2g, 3g, 4g, 7g: the table's but for `+me`."""
    one, double, two, three, four, seven = labels.split()
    names = (one, f"{one}+me", double, two, three, four, seven)
    column = (0, 0, 1, 2, 3, 4, 5)
    return MigGrid(
        name,
        8,
        tuple(
            MigProfile(label, driver_id, compute, size, starts, limit, _mib(gib[at]), sms[at], extra)
            for label, at, (driver_id, compute, size, starts, limit, extra) in zip(
                names, column, _KINDS, strict=True
            )
        ),
    )


def _mib(gib: float | None) -> int | None:
    return None if gib is None else int(gib * 1024)


_A100_SMS = (14, 14, 28, 42, 56, 98)
_H100_SMS = (16, 26, 32, 60, 64, 132)

A100_40 = _eight(
    "a100-40",
    "1g.5gb 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb",
    (4.75, 9.62, 9.62, 19.5, 19.5, 39.25),
    _A100_SMS,
)
A100_80 = _eight(
    "a100-80",
    "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    (9.62, 19.5, 19.5, 39.25, 39.25, 78.5),
    _A100_SMS,
)
H100_80 = _eight(
    "h100-80",
    "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    (9.75, 19.62, 19.62, 39.5, 39.5, 79.25),
    _H100_SMS,
)
H100_PCIE_80 = _eight(
    "h100-pcie-80",
    "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    (9.75, 19.62, 19.62, 39.5, 39.5, 79.25),
)
"""The PCIe card has 114 processors, so its instances have fewer than the SXM's; how many was not seen."""
H100_94 = _eight(
    "h100-94",
    "1g.12gb 1g.24gb 2g.24gb 3g.47gb 4g.47gb 7g.94gb",
    (10.75, 21.62, 21.62, 46.38, None, 93.12),
    (16, 26, 32, None, None, 132),
)
H100_96 = _eight("h100-96", "1g.12gb 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb")
GH200_144 = _eight(
    "gh200-144",
    "1g.18gb 1g.36gb 2g.36gb 3g.72gb 4g.72gb 7g.144gb",
    (17.5, 35.25, 35.25, None, None, None),
    (16, 26, 32, None, None, None),
)
H200_141 = _eight(
    "h200-141",
    "1g.18gb 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb",
    (16.0, 32.5, 32.5, 69.75, 69.75, 140.0),
    (16, 26, 32, 60, 64, 132),
)
"""As driver 580.159 answers on one (NVML's GPU instance profiles, MIG off)."""
B200_180 = _eight(
    "b200-180",
    "1g.23gb 1g.45gb 2g.45gb 3g.90gb 4g.90gb 7g.180gb",
    (None, 44.25, 44.25, None, None, None),
    (18, 30, 36, None, None, None),
)
"""1g: 20.5 or 22.0 GiB by driver. That starts are those of the other eight-unit GPUs is inferred, not seen."""

A30 = MigGrid(
    "a30",
    4,
    (
        MigProfile("1g.6gb", 14, 1, 1, (0, 1, 2, 3), 4, _mib(5.81), 14),
        MigProfile("1g.6gb+me", 21, 1, 1, (0, 1, 2, 3), 1, _mib(5.81), 14, "+me"),
        MigProfile("2g.12gb", 5, 2, 2, (0, 2), 2, _mib(11.69), 28),
        MigProfile("2g.12gb+me", 6, 2, 2, (0, 2), 1, _mib(11.69), 28, "+me"),
        MigProfile("4g.24gb", 0, 4, 4, (0,), 1, _mib(23.44), 56),
    ),
)
_QUARTERS, _HALVES = (0, 3, 6, 9), (0, 6)
RTX_PRO_6000 = MigGrid(
    "rtx-pro-6000",
    12,
    (
        MigProfile("1g.24gb", 14, 1, 3, _QUARTERS, 4, _mib(23.1), 46),
        MigProfile("1g.24gb+me", 21, 1, 3, _QUARTERS, 1, _mib(23.1), 46, "+me"),
        MigProfile("1g.24gb+gfx", 47, 1, 3, _QUARTERS, 4, _mib(23.1), 46, "+gfx"),
        MigProfile("1g.24gb+me.all", 65, 1, 3, _QUARTERS, 1, _mib(23.1), 46, "+me.all"),
        MigProfile("1g.24gb-me", 67, 1, 3, _QUARTERS, 4, _mib(23.1), 46, "-me"),
        MigProfile("2g.48gb", 5, 2, 6, _HALVES, 2, None, 94),
        MigProfile("2g.48gb+gfx", 35, 2, 6, _HALVES, 2, None, 94, "+gfx"),
        MigProfile("2g.48gb+me.all", 64, 2, 6, _HALVES, 1, None, 94, "+me.all"),
        MigProfile("2g.48gb-me", 66, 2, 6, _HALVES, 2, None, 94, "-me"),
        MigProfile("4g.96gb", 0, 4, 12, (0,), 1, None, 188),
        MigProfile("4g.96gb+gfx", 32, 4, 12, (0,), 1, None, 188, "+gfx"),
    ),
)
