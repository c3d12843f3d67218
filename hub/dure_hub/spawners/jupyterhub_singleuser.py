"""What a person's server runs: JupyterHub's single-user server, started with less to import."""

from __future__ import annotations

import sys

NEVER_USED = ("rfc3987_syntax",)
"""Modules that jsonschema takes if they are there. This one compiles a grammar for international addresses each
time it is imported, half of a bare JupyterLab's whole start, and no schema of Jupyter's asks for that format."""


def main() -> None:
    """Be `jupyterhub-singleuser`."""
    for name in NEVER_USED:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that there is none

    from jupyterhub.singleuser import main as singleuser

    singleuser()


if __name__ == "__main__":
    main()
