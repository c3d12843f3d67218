"""`python -m tests.cluster.first PROGRAM …`: what `apart.run` starts in the new namespaces."""

from __future__ import annotations

import sys

from tests.cluster.apart import first

if __name__ == "__main__":
    sys.exit(first(sys.argv[1:]))
