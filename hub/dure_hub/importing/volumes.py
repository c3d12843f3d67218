"""Which volume of a cluster is whose, for a mapping that a backend on Kubernetes can use one day."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dure_hub.importing.errors import BadPattern
from dure_hub.policies.importing import OldUser, volumes_of


def read_volumes(file: Path) -> dict[str, str]:
    """The namespace of every volume that `kubectl get pvc -o json` has listed, by name. Raises `BadPattern`."""
    try:
        items = json.loads(file.read_text())["items"]
        found = [(str(one["metadata"]["name"]), str(one["metadata"].get("namespace", ""))) for one in items]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPattern(option="--pvcs", value=str(file), why=str(error) or type(error).__name__) from error
    twice = {name for name, _ in found if sum(name == other for other, _ in found) > 1}
    if twice:
        why = f"{sorted(twice)[0]} is there in two namespaces; list one namespace at a time"
        raise BadPattern(option="--pvcs", value=str(file), why=why)
    return dict(found)


def matched(user: OldUser, volumes: Mapping[str, str]) -> list[dict[str, str]]:
    """The volumes that are there of those that may be this person's, the likeliest of each server alone."""
    found: dict[str, dict[str, str]] = {}
    for one in volumes_of(user):
        if one.name in volumes and one.server not in found:
            about = {"server": one.server, "pvc": one.name, "scheme": one.scheme, "namespace": volumes[one.name]}
            found[one.server] = about
    return list(found.values())


def write_mapping(file: Path, people: Sequence[tuple[str, OldUser]], volumes: Mapping[str, str]) -> int:
    """The volumes of each person here, as JSON in a file of mode 600; how many people have one."""
    told: dict[str, Any] = {name: {"old": user.name, "volumes": matched(user, volumes)} for name, user in people}
    part = file.with_name(f"{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump({"version": 1, "people": told}, out, ensure_ascii=False, indent=1)
    part.replace(file)
    return sum(bool(one["volumes"]) for one in told.values())
