"""`python -m tests.cluster [what pytest takes]`: build what is missing, and test in the cluster's place.

With `DURE_TEST_CONTEXT` the same on somebody's cluster, without namespaces of the kernel's: docs/test-cluster.md.
`python -m tests.cluster --build` builds what all of them need, and tests nothing; `--probe FILE` writes the image
of the tests' own pods, for a registry.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import apart, builds, database, given, helm, images
from tests.cluster.archive import make_image
from tests.cluster.needs import needed_by
from tools.kube import Trouble

FOR = {"kueue": ("kueue",), "services": ("coredns", "kube-proxy")}
"""Programs that only tests have use for that import this module of ours."""


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
    build_all([] if words == ["--build"] else words)
    return 0 if words == ["--build"] else apart.run(pytest)


def build_all(words: list[str]) -> None:
    """See that all is there that these tests need. Images wait for packages and disks, programs for processors."""
    with ThreadPoolExecutor() as beside:
        images_built = beside.submit(build_images, words)
        unused = {name for module, names in FOR.items() if not needed_by(words, module) for name in names}
        builds.build([name for name in builds.PACKAGES if name not in unused])
        build_helm(words)
        images_built.result()
        build_database(words)


def build_images(words: list[str]) -> None:
    """Our images, where one of these tests may need them and they can be built here."""
    if needed_by(words, "images") and not images.why_not():
        images.build()


def build_database(words: list[str]) -> None:
    """The chart's PostgreSQL, on the same terms."""
    if needed_by(words, "database") and not images.why_not():
        database.build()


def build_helm(words: list[str]) -> None:
    """Helm, where one of these tests may need it."""
    if needed_by(words, "helm"):
        helm.build()


def on_theirs(pytest: list[str], words: list[str]) -> int:
    """The exit code of pytest on the cluster of a context. Nothing is built that would not be brought there."""
    try:
        given.check()
    except Trouble as why:
        print(f"{given.CONTEXT}={given.context()}: {why}. `kubectl config get-contexts` lists what there is.")
        return 1
    build_helm(words)
    if os.environ.get(given.LOAD):
        builds.build(["probe"])
        build_images(words)
    return subprocess.run(pytest, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
