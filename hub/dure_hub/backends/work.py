"""What a backend is asked to run: all that was decided, and nothing that is left to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dure_hub.catalogue.profiles import Volume


@dataclass(frozen=True)
class Work:
    """What every start has in common.

    `devices` are the GPU UUIDs of the lease; the process sees exactly these. `folder` is its working directory;
    `environment` is the whole of its environment but for the marks and device variables the backend adds. With
    `mps` it shares its GPU through MPS: thousandths of the processors, and MiB of memory if known. `cores` and
    `memory_mb` are what its lease holds, and its limits where a backend has any; null is no limit. `shared` names
    the shared folders that its owner is admitted to as it starts. `node` is where the lease holds it, where there
    are several; `team` pays for it, for `project`.
    """

    lease: str
    owner: str
    folder: Path
    environment: Mapping[str, str]
    devices: Sequence[str] = ()
    mps: tuple[int, int | None] | None = None
    cores: float | None = None
    memory_mb: int | None = None
    shared: Sequence[str] = ()
    node: str | None = None
    team: str | None = None
    project: str | None = None


@dataclass(frozen=True)
class ServerWork(Work):
    """A person's server. `{port}` in `command` and in values of `environment` is the port the backend chooses.

    On a cluster it is made from the container `image`, and laid over `template`, the pod that the hub's options
    ask for. `secrets` are those variables of its environment that nobody else may read. It has these `volumes`,
    and `shm_mb` MiB of its memory as shared memory; None is as the backend does.
    """

    command: Sequence[str] = ()
    name: str = ""
    api_token: str = ""
    image: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Volume] = ()
    shm_mb: int | None = None


@dataclass(frozen=True)
class TrainingWork(Work):
    """A training job: code is at `folder`; `entry`, `parameters` and `processes` as the wire type says.
    `token_file` holds the job's own token; `outputs` is the folder for what the job keeps (checkpoints). `python`
    is the program that runs it; null is the backend's own."""

    entry: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    processes: int | None = None
    outputs: Path = Path()
    token_file: Path | None = None
    python: str | None = None


@dataclass(frozen=True)
class ServingWork(Work):
    """A model server for one version: `model` is the folder of the downloaded version."""

    model: Path = Path()
    name: str = ""
    version: int = 0


@dataclass(frozen=True)
class ExecutionWork(Work):
    """One run of a notebook: `notebook` is a path under `folder`; `outputs` is the folder for what it leaves.

    There it leaves `executed.ipynb`, saved after each cell, and at its end `result.json`. `parameters` were
    checked against the notebook's own. `token_file` holds the execution's own token. `python` runs the kernel."""

    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Path = Path()
    token_file: Path | None = None
    python: str | None = None
