"""What images with torch are for, done in them on a real kubelet: a job trains, its model is judged and served.

Each is started as whoever runs the image would: by its own entry point. Where it was built without torch, this
machine's is a volume, after the image's own packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.kubernetes.spec import Mount
from tests.cluster import images
from tests.cluster.control_plane import ControlPlane
from tests.cluster.image_pods import Pods, make_claim, make_torch, pods_of
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.contract.digits import CODE, held_out
from tests.support.notebooks import notebook

pytestmark = pytest.mark.anywhere

NAMESPACE = named("image-work")
WORK, PORT = "/mnt/work", 8100
LAST = "import sys\nsys.path.append('/mnt/torch')\n"
"""Read by every Python of a pod, also by those that it starts."""
GATE = f"""
import json
from pathlib import Path
from dure.serving import Model
work = {WORK!r}
rows, labels = json.loads(Path(work, "held-out.json").read_text())
found = Model(Path(work, "outputs", "model"), "digits", "1").predict(rows)
right = sum(one == label for one, label in zip(found, labels)) / len(labels)
print(right, "of them are right")
assert right >= threshold
"""
ASK = f"""
import json, sys, urllib.request
body = open("{WORK}/held-out.json").read()
request = urllib.request.Request(
    "http://127.0.0.1:{PORT}/invocations", json.dumps({{"inputs": json.loads(body)[0]}}).encode(),
    {{"Content-Type": "application/json"}},
)
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


@dataclass(frozen=True)
class Work:
    """A folder of this machine that pods see at `WORK`, and what each pod is given."""

    folder: Path
    mounts: tuple[Mount, ...]

    def given(self, **environment: str) -> dict[str, Any]:
        """The changes of a pod that works here."""
        known = {"PYTHONPATH": f"{WORK}/python", **environment}
        return {"mounts": self.mounts, "environment": known, "memory_mb": 3072, "cores": 1.0}


@pytest.fixture(scope="module")
def namespace(beside: ControlPlane, node: Node) -> str:
    """One that enforces `restricted`."""
    if why := images.why_not():
        pytest.skip(why)
    return make_namespace(beside, NAMESPACE)


@pytest.fixture(scope="module")
def work(beside: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """With a job to do, and what its model is judged by."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "python").mkdir()
    (folder / "python" / "sitecustomize.py").write_text(LAST)
    (folder / "outputs").mkdir()
    job = {"entry": f"{WORK}/digits.py:train", "parameters": {"epochs": 12}, "device": "cpu", "processes": 1}
    job |= {"outputs": f"{WORK}/outputs", "token_file": f"{WORK}/token"}
    for name, text in (
        ("digits.py", CODE),
        ("job.json", json.dumps(job)),
        ("token", "dure_test-token\n"),
        ("held-out.json", json.dumps(held_out())),
        ("gate.ipynb", notebook(GATE, parameters="threshold = 1.1")),
    ):
        (folder / name).write_text(text)
    for place in (folder, folder / "outputs"):
        place.chmod(0o777)  # pods are not this user
    mounts = [make_claim(beside, namespace, "work", folder)]
    if any(images.without_torch(name) for name in images.asked()):
        mounts.append(make_torch(beside, namespace))
    return Work(folder, tuple(mounts))


@pytest.fixture(scope="module")
def train(namespace: str, beside: ControlPlane, node: Node) -> Iterator[Pods]:
    """Pods of train."""
    yield from pods_of("train", namespace, beside, node)


@pytest.fixture(scope="module")
def serve(namespace: str, beside: ControlPlane, node: Node) -> Iterator[Pods]:
    """Pods of serve."""
    yield from pods_of("serve", namespace, beside, node)


@pytest.fixture(scope="module")
def quality_gate(namespace: str, beside: ControlPlane, node: Node) -> Iterator[Pods]:
    """Pods of quality-gate."""
    yield from pods_of("quality-gate", namespace, beside, node)


@pytest.fixture(scope="module")
def trained(train: Pods, work: Work) -> str:
    """What a job has said that trained a model and left it in its outputs."""
    return train.run(**work.given(DURE_JOB_FILE=f"{WORK}/job.json"))


def test_a_job_trains_and_leaves_a_model(trained: str, work: Work) -> None:
    assert "Training on CPU, 1 process" in trained
    assert float(trained.rpartition("rank 0: accuracy ")[2].split()[0]) > 0.9
    assert (work.folder / "outputs" / "model" / "MLmodel").exists()


def test_the_exit_code_of_a_job_is_its_own(train: Pods, work: Work) -> None:
    (work.folder / "fails.py").write_text("raise SystemExit(17)\n")
    job = json.loads((work.folder / "job.json").read_text())
    (work.folder / "fails.json").write_text(json.dumps({**job, "entry": f"{WORK}/fails.py", "parameters": {}}))
    train.run(ends=17, **work.given(DURE_JOB_FILE=f"{WORK}/fails.json"))


@pytest.mark.usefixtures("trained")
def test_a_model_is_served(serve: Pods, work: Work) -> None:
    words = ["--model", f"{WORK}/outputs/model", "--name", "digits", "--version", "7", "--port", str(PORT)]
    name = serve.start(arguments=words, **work.given())
    until(lambda: "Serving digits version 7" in serve.log(name) or serve.phase(name) == "Failed", "its server")
    until(lambda: serve.inside(name, "python", "-c", ASK).returncode == 0, "an answer")
    said = json.loads(serve.inside(name, "python", "-c", ASK).stdout)
    _, labels = held_out()
    right = sum(one == label for one, label in zip(said["predictions"], labels, strict=True))
    assert right / len(labels) > 0.9
    assert said["model_version"] == "7"
    serve.inside(name, "python", "-c", "import os; os.kill(1, 15)")
    until(lambda: serve.phase(name) in ("Succeeded", "Failed"), "its end")
    assert serve.phase(name) == "Succeeded", serve.log(name)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(("threshold", "ends", "said"), [("0.9", 0, ""), ("1.0", 1, "AssertionError: ")])
def test_a_model_passes_its_trial_or_does_not(
    quality_gate: Pods, work: Work, threshold: str, ends: int, said: str
) -> None:
    words = [f"{WORK}/gate.ipynb", f"{WORK}/outputs/of-{ends}.ipynb", "-p", "threshold", threshold]
    assert said in quality_gate.run(arguments=words, ends=ends, **work.given())
    written = json.loads((work.folder / "outputs" / f"of-{ends}.ipynb").read_text())
    assert "of them are right" in json.dumps(written["cells"][-1]["outputs"])
