"""Kernels of a person's server: Python's runs with their own Python, where they have one, and never with ours.

It is looked for at each start of a kernel, so that one that was made anew meanwhile counts, and none at all is no
reason to start nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager
from traitlets import default

from dure import own_python

_ANY_PYTHON = ("python", "python3")
"""By such a word a package's own kernel means the Python of whoever starts it."""


class OwnPython(KernelSpecManager):
    """As Jupyter's, but for which Python the kernel `python3` runs with, and for kernels of one's own packages.

    Only kernels are looked for in there: an extension of the page that is half installed, or switches others off,
    would keep its owner out of JupyterLab.
    """

    @default("kernel_dirs")
    def _kernel_dirs_default(self) -> list[str]:
        dirs: list[str] = [*super()._kernel_dirs_default()]
        own = os.environ.get("DURE_OWN_PYTHON")
        return [*dirs, str(Path(own) / "share" / "jupyter" / "kernels")] if own else dirs

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """What Jupyter finds. A `python3` for which its owner has named another program stays as it is."""
        spec = super().get_kernel_spec(kernel_name)
        own = os.environ.get("DURE_OWN_PYTHON")
        if not own or own_python.made_for(Path(own)) is None:
            return spec
        came_with_own = Path(spec.resource_dir).is_relative_to(own)
        if kernel_name.lower() != NATIVE_KERNEL_NAME and not came_with_own:
            return spec
        if spec.argv and spec.argv[0] in (*_ANY_PYTHON, sys.executable):
            spec.argv = [str(own_python.program(Path(own))), *spec.argv[1:]]
            spec.env = {**spec.env, "JUPYTER_PATH": _with_ours(os.environ.get("JUPYTER_PATH", ""))}
        return spec


def _with_ours(path: str) -> str:
    """Templates and the like of the portal's packages, which a Python elsewhere would not look for here."""
    ours = str(Path(sys.prefix) / "share" / "jupyter")
    return os.pathsep.join(one for one in (*path.split(os.pathsep), ours) if one)
