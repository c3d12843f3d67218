"""`python -m tests.cluster [what pytest takes]`: build what is missing, and test in the cluster's place."""

from __future__ import annotations

import os
import sys

from tests.cluster import apart, builds, images


def main(words: list[str]) -> int:
    """The exit code of pytest; 0 with one line where there can be no cluster and none is demanded."""
    pytest = [sys.executable, "-m", "pytest", *(words or ["tests/cluster"])]
    if why := apart.why_not():
        print(f"Left out: {why}")
        return 1 if os.environ.get("CI") else 0
    builds.build()
    if images.needed_by(words) and not images.why_not():
        images.build()
    return apart.run(pytest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
