"""How code and data come into a person's folder: `git clone`, and an upload as large as data sets are."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.own_server import OwnServer
from tests.e2e.portal import Portal

pytestmark = pytest.mark.timeout(900)
CHUNK = 1 << 20
"""So much JupyterLab sends in one request."""
CHUNKS = 5 * 1024
ROOM = 12 << 30


@pytest.fixture(scope="module")
def ana(portal: Portal) -> Iterator[OwnServer]:
    """With a server, which is stopped afterwards."""
    with portal.client("ana") as client:
        someone = OwnServer(portal, client)
        someone.start()
        yield someone
        someone.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The address of a git repository with one file, on loopback."""
    if shutil.which("git") is None:
        pytest.skip("There is no git on this machine.")
    work, bare = tmp_path / "work", tmp_path / "served" / "course.git"
    bare.parent.mkdir()
    by = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
    git("init", "--quiet", str(work))
    (work / "lesson.py").write_text("print('first lesson')\n")
    git("-C", str(work), "add", "lesson.py")
    git("-C", str(work), *by, "commit", "--quiet", "-m", "The first lesson")
    git("clone", "--quiet", "--bare", str(work), str(bare))
    git("-C", str(bare), "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(bare.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/course.git"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, which is all that git needs, and says nothing."""

    def log_message(self, *words: object) -> None:
        """Nothing."""


def git(*words: str) -> None:
    """Run it, undisturbed by whatever this machine has set for it."""
    told = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *words], check=True, capture_output=True, timeout=60, env=told)


def test_git_clone_works_in_a_terminal_and_in_a_cell(ana: OwnServer, repository: str) -> None:
    said = ana.type(f"git clone {repository} typed && python typed/lesson.py; echo END=$((1+1))", "END=2")
    assert "first lesson" in said
    assert "first lesson" in ana.run(f"!git clone {repository} celled\n!python celled/lesson.py")
    for name in ("typed", "celled"):
        shutil.rmtree(ana.home / name)


def test_five_gigabytes_arrive_whole(ana: OwnServer) -> None:
    free = shutil.disk_usage(ana.home).free
    if free < ROOM:
        pytest.skip(f"An upload of 5 GB needs 12 GB of free disk; here are {free >> 30}.")
    target, sent = ana.home / "large.bin", hashlib.blake2b()
    block = random.Random(7).randbytes(CHUNK - 8)
    try:
        with httpx.Client(base_url=f"{ana.base}/api/contents", headers=ana.headers, timeout=120) as client:
            for number in range(1, CHUNKS + 1):
                piece = number.to_bytes(8) + block
                sent.update(piece)
                body = {
                    "type": "file",
                    "format": "base64",
                    "name": "large.bin",
                    "path": "large.bin",
                    "chunk": number if number < CHUNKS else -1,
                    "content": base64.b64encode(piece).decode(),
                }
                answer = client.put("/large.bin", json=body)
                assert answer.status_code in (200, 201), answer.text[:500]
        assert target.stat().st_size == CHUNK * CHUNKS
        found = hashlib.blake2b()
        with target.open("rb") as file:
            while piece := file.read(1 << 24):
                found.update(piece)
        assert found.hexdigest() == sent.hexdigest()
    finally:
        target.unlink(missing_ok=True)
