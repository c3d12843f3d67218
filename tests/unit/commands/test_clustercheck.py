"""`dure doctor` where a cluster does not answer; with one that does it is in tests/cluster/test_doctor.py."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from dure.errors import LANGUAGES
from dure_hub.backends.kubernetes.connecting import cluster_of
from dure_hub.commands import clustercheck, clusterwords
from dure_hub.settings import Settings
from dure_hub.store import database_url

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": ""}}],
    "users": [{"name": "u", "user": {"token": "s3cret"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}


def doctor(data: Path, language: str = "en", **said: str) -> subprocess.CompletedProcess[str]:
    """As somebody types it beside a portal whose servers are pods."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    pod = {"DURE_BACKEND": "kubernetes", "DURE_SERVER_IMAGE": "x", "DURE_XDS_PORT": "28085", **said}
    environment = {**known, "DURE_DATA": str(data), "DURE_LANGUAGE": language, "DURE_DISK_MINIMUM_MB": "0", **pod}
    return subprocess.run(
        [sys.executable, "-m", "dure.cli", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def away(tmp_path: Path) -> str:
    """A kubeconfig of an API server at a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = tmp_path / "kubeconfig"
    CONFIG["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    file.write_text(yaml.safe_dump(CONFIG))
    return str(file)


def test_an_api_server_that_is_away_is_one_finding_and_the_rest_is_told(tmp_path: Path, away: str) -> None:
    done = doctor(tmp_path / "none", DURE_KUBECONFIG=away, DURE_KUBESPAWNER='{"uidd": 1}')
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    told = {one["topic"]: one for one in found["machine"]}
    assert (done.returncode, told["cluster"]["state"]) == (1, "bad")
    assert "does not answer" in told["cluster"]["text"]
    assert "most like it: uid" in told["kubespawner"]["text"]
    assert {"disk", "python", "isolation"} <= told.keys()
    assert not {"gpu", "cpu", "kernel", "torch", "port"} & told.keys(), (
        "of these nothing is known, or none is here"
    )
    assert "training" in {one["topic"] for one in found["limits"]}


def test_a_kubeconfig_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    done = doctor(tmp_path / "none", "ko", DURE_KUBECONFIG=str(tmp_path / "nowhere"))
    told = {one["topic"]: one for one in json.loads(done.stdout)["machine"]}
    assert "nowhere" in told["cluster"]["text"]
    assert "클러스터" in told["cluster"]["text"]


def test_a_database_that_cannot_be_read_leaves_unknown_whether_kueue_is_as_it_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_LANGUAGE", "en")
    settings = Settings(data=tmp_path, backend="kubernetes", server_image="x")
    settings.folder.create()
    settings.save()
    Path(make_url(database_url(settings)).database or "").write_bytes(b"no database" * 100)
    found = asyncio.run(clustercheck._drift(settings, cluster_of(settings)))
    assert (found.state, "is unknown: DatabaseError" in found.text) == ("limited", True), found


def test_every_sentence_is_in_both_languages_with_the_same_facts() -> None:
    assert len(LANGUAGES) == 2
    for key, (english, korean) in clusterwords.WORDS.items():
        facts = [{part.split("}")[0] for part in text.split("{")[1:]} for text in (english, korean)]
        assert facts[0] == facts[1], key
