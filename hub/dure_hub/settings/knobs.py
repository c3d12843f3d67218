"""Every knob, with default, type and one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from dure_hub.settings.addresses import Addresses
from dure_hub.settings.cluster import OnCluster
from dure_hub.settings.folder import DataFolder
from dure_hub.settings.images import Image
from dure_hub.settings.isolation import Isolation
from dure_hub.settings.login import Login
from dure_hub.settings.notices import NoticeSending
from dure_hub.settings.shared import Sharing
from dure_hub.settings.trouble import Trouble

FLEETS = ("workstation", "dgx-a100", "dgx-h100", "campus")
"""Simulated fleets that come with the portal."""


class Settings(Trouble, Login, Isolation, Addresses, NoticeSending, Sharing, OnCluster):
    """What can be set. Each field is `DURE_<NAME>` in the environment and `<name>` in dure.yaml."""

    cpu_profile_cores: float = Field(0.5, gt=0, le=512, description="Cores a holder of `cpu` is promised.")
    cpu_profile_memory_mb: int = Field(2048, ge=64, description="Memory (MiB) a holder of `cpu` is promised.")
    cpu_overcommit: float = Field(2.0, ge=1, le=16, description="Promised cores for each real core.")
    memory_reserved_mb: int = Field(2048, ge=0, description="Memory (MiB) kept for the portal itself.")
    default_lifetime_s: int = Field(8 * 3600, ge=300, description="Lifetime of a server where none is asked for.")
    max_lifetime_s: int = Field(
        24 * 3600, ge=300, description="Longest lifetime of a server, and of a job or execution."
    )
    gpu_default_lifetime_s: int = Field(
        4 * 3600,
        ge=300,
        description="Lifetime of a server with a GPU where none is asked for; at most `default_lifetime_s`.",
    )
    gpu_max_lifetime_s: int = Field(
        12 * 3600, ge=300, description="Longest lifetime of a server with a GPU; at most `max_lifetime_s`."
    )
    activity_interval_s: int = Field(
        60, ge=1, le=3600, description="Time between two reports of a server's use to the hub."
    )
    servers_per_person: int = Field(
        8, ge=1, le=1000, description="Servers that one person may have at once, waiting ones included."
    )
    idle_timeout_s: int = Field(
        4 * 3600,
        ge=0,
        validate_default=True,
        description="A server nobody used for so long ends; 0 lets it run to its end.",
    )
    wake_notice_s: int = Field(
        600,
        ge=0,
        le=3600,
        description="After the machine slept or the portal was away nothing ends for its time before so long; 0 "
        "puts off nothing.",
    )
    gpu_idle_percent: float = Field(
        5, ge=0, le=100, description="A GPU that is no busier (in percent) counts as idle."
    )
    simulated_fleet: str = Field(
        "",
        description="GPUs to simulate in place of real ones: workstation, dgx-a100, dgx-h100, campus, or a "
        "YAML file; empty is none.",
    )
    mig_dynamic: bool = Field(
        True, description="Whether MIG instances are made for who asks, where MIG is on and the portal may."
    )
    gpu_sharing: Literal["none", "time-slice", "mps", "memory"] = Field(
        "none",
        description="How GPUs are shared: not at all, by time, by MPS (its daemon must run), or, for cards of "
        "24 GB, by agreed parts of memory.",
    )
    gpu_replicas: int = Field(4, ge=2, le=48, description="Holders of one GPU shared by time or MPS, at most.")
    share_across_teams: bool = Field(False, description="Whether people of several teams may share one GPU.")
    team_borrowing: bool = Field(
        True,
        description="Whether a team's training may go beyond its quota of GPUs while nobody else needs them.",
    )
    reclaim_after_s: int = Field(
        1800, ge=0, description="How long training beyond a quota runs before others may reclaim its GPUs."
    )
    ticket_timeout_s: int = Field(24 * 3600, ge=60, description="How long a request may wait before it ends.")
    turn: Literal["start", "hold"] = Field(
        "start",
        description="What happens when a waiting server's turn comes: it starts, or its place is held until its "
        "owner starts it.",
    )
    turn_wait_s: int = Field(
        900, ge=10, le=86400, description="How long a place is held for its owner before it goes to the next."
    )

    database_url: str = Field(
        "",
        description="The portal's own database, `postgresql+psycopg://user@host/name`; empty is SQLite in the "
        "data folder.",
    )
    database_password_file: Path | None = Field(
        None, description="File of mode 600 with the password for that database."
    )
    artifacts_url: str = Field(
        "", pattern=r"^(file:///.+)?$", description="Where artifacts are kept; empty is the data folder."
    )
    images: list[Image] = Field(
        [],
        description="What a server can be made from, the first where none is asked for: each has a `name`, and "
        "may have a `title` and a `python` or a `command`; empty is the portal's own Python.",
    )
    server_command: list[str] = Field([], description="Command of a person's server; empty is JupyterLab.")
    warm_starts: bool = Field(
        True, description="Whether JupyterLab is forked from a process that has imported it already."
    )
    http_timeout_s: int = Field(120, ge=5, description="How long a server may take to answer after its start.")
    stop_grace_s: float = Field(10, ge=0, description="Time between asking a process to end and ending it.")
    before_stop_s: float = Field(
        30,
        ge=0,
        le=3600,
        description="How long a server may save and run its owner's program before it is stopped; 0 does not ask.",
    )
    stop_notice_s: int = Field(
        600,
        ge=0,
        le=86400,
        description="How long before its end the owner of a server is told that an administrator or a "
        "lead stops it, unless that is to be at once.",
    )
    execution_limit_s: int = Field(
        3600, ge=60, description="Longest run of a scheduled notebook that names no limit of its own."
    )
    executions_kept: int = Field(
        50, ge=0, description="Executions of a schedule whose notebook and log are kept; 0 keeps all."
    )
    dashboard_idle_s: int = Field(
        300, ge=10, description="A dashboard's kernel ends when nobody has looked at it for so long."
    )
    job_grace_s: float = Field(30, ge=0, description="The same for a training job, which may write a checkpoint.")
    look_interval_s: float = Field(2, gt=0, description="Time between two looks of the reconciler.")
    token_lifetime_s: int = Field(30 * 86400, ge=60, description="Lifetime of a token made by `dure token`.")
    snapshot_limit_mb: int = Field(512, ge=1, description="Largest upload of code and data for one job (MiB).")
    log_limit_mb: int = Field(64, ge=1, description="A log is copied and truncated beyond this size (MiB).")
    disk_minimum_mb: int = Field(
        1024,
        ge=0,
        description="With less free disk nothing new starts, `up` neither; uploads leave as much (MiB).",
    )

    @field_validator("idle_timeout_s")
    @classmethod
    def _longer_than_reports(cls, timeout_s: int, info: ValidationInfo) -> int:
        """Between two reports a server in use looks unused."""
        report_s = info.data.get("activity_interval_s", 0)  # 0 where that is wrong itself
        if timeout_s and timeout_s < 2 * report_s:
            rule = "it is 0, or at least twice activity_interval_s, which is {report_s}"
            raise PydanticCustomError("too_short_for_reports", rule, {"report_s": report_s})
        return timeout_s

    @field_validator("images")
    @classmethod
    def _unlike_names(cls, images: list[Image]) -> list[Image]:
        """A name is all that a request says."""
        if len({image.name for image in images}) < len(images):
            raise PydanticCustomError("same_names", "every image has a name of its own")
        return images

    @field_validator("simulated_fleet")
    @classmethod
    def _whole_path(cls, fleet: str) -> str:
        """Processes that start in other folders must find the same file."""
        return fleet if fleet in ("", *FLEETS) else str(Path(fleet).expanduser().resolve())

    @field_validator("database_password_file")
    @classmethod
    def _whole_file(cls, path: Path | None) -> Path | None:
        """Processes that start in other folders must find the same file."""
        return None if path is None else path.expanduser().resolve()

    @property
    def folder(self) -> DataFolder:
        """Where things lie."""
        return DataFolder(self.data.expanduser().resolve())

    @property
    def artifacts(self) -> str:
        """The artifact store's URL."""
        return self.artifacts_url or self.folder.artifacts.as_uri()

    def save(self) -> None:
        """Write what `up` resolved, for every other process of this portal."""
        target = self.folder.resolved
        temporary = target.with_suffix(".tmp")
        temporary.write_text(self.model_dump_json(indent=2))
        temporary.chmod(0o600)
        temporary.replace(target)
