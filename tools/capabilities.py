"""Writes the README's capability table from what the backends declare they cannot do here or anywhere.

Run it with `--check` to only compare: the exit code is 1 where README.md is out of date.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from dure_hub.backends.base import Feature
from dure_hub.backends.chosen import backends_of
from dure_hub.settings import Settings

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- capabilities -->", "<!-- /capabilities -->"
WORDS = {
    Feature.GPU: "Whole GPUs",
    Feature.MEMORY_LIMIT: "Memory limits",
    Feature.CPU_LIMIT: "CPU limits",
    Feature.USER_ISOLATION: "An account of the system for each person",
    Feature.MIG: "MIG slices",
    Feature.GPU_SHARING: "Shared GPUs",
    Feature.TRAINING: "Training jobs",
    Feature.SERVING: "Model serving with a canary",
    Feature.MULTI_NODE: "Several machines",
    Feature.SCHEDULES: "Scheduled notebooks",
    Feature.OWN_TMP: "A /tmp of one's own",
    Feature.OWN_PYTHON: "Packages of one's own that survive (`dure env`)",
    Feature.SHARED_FOLDERS: "Shared folders (`shared_folders`)",
    Feature.VOLUMES: "Volumes and shared memory of a profile",
    Feature.CONTAINER_IMAGES: "A profile's container image; by team, any",
}

OF_A_MACHINE = {
    Feature.GPU: "yes, with NVIDIA's driver",
    Feature.USER_ISOLATION: "yes, where the portal runs as root (`system_accounts`); else one team that trusts its"
    " members",
    Feature.MEMORY_LIMIT: "yes, with accounts of the system, by control groups (version 1 or 2)",
    Feature.CPU_LIMIT: "yes, with accounts of the system, by control groups; at least one core each",
    Feature.OWN_TMP: "yes, with accounts of the system",
    Feature.MIG: "yes, where MIG is on; new instances need root",
    Feature.TRAINING: "yes, with PyTorch (installed by default)",
    Feature.SERVING: "yes, with PyTorch (installed by default)",
}
"""What depends on where this runs; here only what the portal itself can do counts."""

OF_A_CLUSTER = {
    Feature.GPU: "yes, with NVIDIA's device plugin and GPU feature discovery",
    Feature.USER_ISOLATION: "a pod for each server, as a user without rights",
    Feature.MIG: "yes, what NVIDIA's MIG manager has cut (strategies single and mixed)",
    Feature.GPU_SHARING: "yes, as the device plugin shares them (time-slicing, MPS)",
}


def declared_gaps(settings: Settings) -> dict[Feature, str]:
    """Each gap that the backends of these settings declare, with its sentence."""
    found = backends_of(settings, lambda: datetime.now(UTC)).gaps()
    return {feature: text["en"] for feature, text in found.items()}


def table() -> str:
    """The table in Markdown: a row a feature, the backend's own sentence where there is a gap."""
    machine, cluster = declared_gaps(Settings()), declared_gaps(Settings(backend="kubernetes", server_image="any"))
    rows = ["| | one machine | Kubernetes |", "|---|---|---|"]
    for feature, words in WORDS.items():
        one = OF_A_MACHINE.get(feature) or machine.get(feature, "yes")
        many = OF_A_CLUSTER.get(feature) or cluster.get(feature, "yes")
        rows.append(f"| {words} | {one} | {many} |")
    return "\n".join(rows)


def main(check: bool) -> int:
    """Write, or only compare."""
    text = README.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    wanted = f"{before}{START}\n{table()}\n{END}{after}"
    if check:
        return int(wanted != text)
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
