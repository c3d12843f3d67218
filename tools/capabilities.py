"""Writes the README's capability table from what the backends declare they cannot do here or anywhere.

Run it with `--check` to only compare: the exit code is 1 where README.md is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dure_hub.backends.base import Feature
from dure_hub.backends.embedded import (
    EmbeddedExecutions,
    EmbeddedInventory,
    EmbeddedServers,
    EmbeddedServing,
    EmbeddedTraining,
)
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


def declared_gaps() -> dict[Feature, str]:
    """Each gap that the backends of one machine declare, with its sentence."""
    settings = Settings()
    kinds = (EmbeddedInventory, EmbeddedServers, EmbeddedTraining, EmbeddedServing, EmbeddedExecutions)
    backends = [kind(settings) for kind in kinds]
    return {feature: text["en"] for backend in backends for feature, text in backend.unsupported.items()}


def table() -> str:
    """The table in Markdown: a row a feature, the backend's own sentence where there is a gap."""
    gaps = declared_gaps()
    rows = ["| | one machine |", "|---|---|"]
    rows += [f"| {words} | {OF_A_MACHINE.get(f) or gaps.get(f, 'yes')} |" for f, words in WORDS.items()]
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
