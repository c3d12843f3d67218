"""How much of a cluster the portal and its people ask for, and use: pure sums, and a table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dure_hub.backends.kubernetes.requests import OVER, number_of, requests_of

Object = Mapping[str, Any]
MIB, GIB = 2**20, 2**30
LARGER = 1.25
"""A disk that has so much more than its claim is not the claim's alone."""


@dataclass(frozen=True)
class Row:
    """One namespace. Cores and bytes; what is not known is None, and never 0."""

    name: str
    pods: int
    cores: float
    memory: float
    disk: float
    used_cores: float | None = None
    used_memory: float | None = None
    used_disk: float | None = None


@dataclass(frozen=True)
class Measured:
    """How many bytes of a volume's disk are used, and how many it has."""

    used: float
    disk: float | None = None


def row_of(
    name: str,
    pods: Sequence[Object],
    claims: Sequence[Object],
    metrics: Sequence[Object] | None,
    volumes: Mapping[tuple[str, str], Measured] | None,
) -> Row:
    """One namespace from what the API says of it; `metrics` and `volumes` are None where nobody measures."""
    alive = [pod for pod in pods if pod["status"].get("phase") not in OVER]
    asked = [requests_of(pod) for pod in alive]
    cores, memory = (sum(one[what] for one in asked) for what in ("cpu", "memory"))
    disk = sum(number_of(one["spec"]["resources"]["requests"]["storage"]) for one in claims)
    used = None if metrics is None else [box["usage"] for one in metrics for box in one["containers"]]
    return Row(
        name,
        len(alive),
        cores,
        memory,
        disk,
        None if used is None else sum(number_of(one["cpu"]) for one in used),
        None if used is None else sum(number_of(one["memory"]) for one in used),
        None if volumes is None else _used(claims, volumes),
    )


def _used(claims: Sequence[Object], volumes: Mapping[tuple[str, str], Measured]) -> float | None:
    """What these hold; None where one is not known.

    That is one that no pod has, at which nobody looks, and a folder of a disk, of which all is measured together.
    """
    found = 0.0
    for one in claims:
        seen = volumes.get((one["metadata"]["namespace"], one["metadata"]["name"]))
        if seen is None:
            return None
        has = (one.get("status") or {}).get("capacity") or one["spec"]["resources"]["requests"]
        if seen.disk is not None and seen.disk > number_of(has["storage"]) * LARGER:
            return None
        found += seen.used
    return found


def volumes_of(summaries: Iterable[Object]) -> dict[tuple[str, str], Measured]:
    """What is measured of each claim (namespace, name), from what kubelets say of their pods."""
    found: dict[tuple[str, str], Measured] = {}
    for summary in summaries:
        for pod in summary.get("pods") or ():
            for volume in pod.get("volume") or ():
                claim = volume.get("pvcRef")
                if claim and "usedBytes" in volume:
                    disk = volume.get("capacityBytes")
                    measured = Measured(float(volume["usedBytes"]), None if disk is None else float(disk))
                    found[claim["namespace"], claim["name"]] = measured
    return found


def total(rows: Sequence[Row]) -> Row:
    """All of them together. What is not known of one is not known of all."""

    def known(values: Iterable[float | None]) -> float | None:
        found = list(values)
        return None if None in found else sum(one for one in found if one is not None)

    return Row(
        "all",
        sum(one.pods for one in rows),
        sum(one.cores for one in rows),
        sum(one.memory for one in rows),
        sum(one.disk for one in rows),
        known(one.used_cores for one in rows),
        known(one.used_memory for one in rows),
        known(one.used_disk for one in rows),
    )


def table(rows: Sequence[Row]) -> str:
    """As people read it: requested and used, side by side."""
    head = ("namespace", "pods", "cores", "used", "memory", "used", "disk", "used")
    lines = [head, *(_cells(one) for one in (*rows, total(rows)))]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    texts = (
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in _rest(line, widths))])
        for line in lines
    )
    return "\n".join(texts)


def _rest(line: Sequence[str], widths: Sequence[int]) -> Iterable[tuple[str, int]]:
    return zip(line[1:], widths[1:], strict=True)


def _cells(row: Row) -> tuple[str, ...]:
    def shown(value: float | None, unit: float, name: str) -> str:
        return "unknown" if value is None else f"{value / unit:.2f}{name}".replace(".00", "")

    return (
        row.name,
        str(row.pods),
        shown(row.cores, 1, ""),
        shown(row.used_cores, 1, ""),
        shown(row.memory, MIB, " MiB"),
        shown(row.used_memory, MIB, " MiB"),
        shown(row.disk, GIB, " GiB"),
        shown(row.used_disk, GIB, " GiB"),
    )
