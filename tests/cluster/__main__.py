"""`python -m tests.cluster [what pytest takes]`: build what is missing, and test in the cluster's place.

With `DURE_TEST_CONTEXT` the same on somebody's cluster, without namespaces of the kernel's: docs/test-cluster.md.
`python -m tests.cluster --probe FILE` writes the image of the tests' own pods, for a registry.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import apart, builds, given, helm, images
from tests.cluster.archive import make_image
from tools.kube import Trouble


def main(words: list[str]) -> int:
    """The exit code of pytest; 0 with one line where there can be no cluster and none is demanded."""
    if words[:1] == ["--probe"]:
        builds.build(["probe"])
        make_image(builds.path("probe"), given.PROBE, Path(words[1]))
        print(f"{words[1]}: the image {given.PROBE}")
        return 0
    pytest = [sys.executable, "-m", "pytest", *(words or ["tests/cluster"])]
    if given.context():
        return on_theirs(pytest, words)
    if os.environ.get(given.KUBECONFIG):
        print(f"{given.KUBECONFIG} names a file, and {given.CONTEXT} no context: nobody's current one is used.")
        return 1
    if why := apart.why_not():
        print(f"Left out: {why}")
        return 1 if os.environ.get("CI") else 0
    # images wait for packages and disks, programs for processors
    with ThreadPoolExecutor() as beside:
        need = images.needed_by(words) and not images.why_not()
        building = beside.submit(images.build) if need else None
        builds.build()
        helm.build()
        if building is not None:
            building.result()
    return apart.run(pytest)


def on_theirs(pytest: list[str], words: list[str]) -> int:
    """The exit code of pytest on the cluster of a context. Nothing is built that would not be brought there."""
    try:
        given.check()
    except Trouble as why:
        print(f"{given.CONTEXT}={given.context()}: {why}. `kubectl config get-contexts` lists what there is.")
        return 1
    helm.build()
    if os.environ.get(given.LOAD):
        builds.build(["probe"])
        if images.needed_by(words) and not images.why_not():
            images.build()
    return subprocess.run(pytest, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
