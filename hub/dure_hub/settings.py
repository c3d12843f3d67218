"""Every knob, with default, type and one sentence; and where things lie in the data folder.

Precedence: defaults < `DURE_DATA/dure.yaml` < `DURE_*` variables < flags of `dure up`. `up` resolves them once
into `run/settings.json`; every other process reads that file, so all of them see the same values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DEFAULT_DATA = Path("~/.dure")
FLEETS = ("workstation", "dgx-a100", "dgx-h100", "campus")
"""Simulated fleets that come with the portal."""
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTS = re.compile(rf"https?://(?:{_LABEL}\.)+(?=[a-z]){_LABEL}(?::[1-9][0-9]{{0,4}})?", flags=re.ASCII)


class DataFolder:
    """The places under `DURE_DATA`. Folders have mode 700; files under `secrets/` have mode 600."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "dure.yaml"
        self.rates = root / "rates.yaml"
        self.secrets = root / "secrets"
        self.db = root / "db"
        self.run = root / "run"
        self.log = root / "log"
        self.envoy = root / "envoy"
        self.users = root / "users"
        self.jobs = root / "jobs"
        self.executions = root / "executions"
        self.shares = root / "shares"
        self.artifacts = root / "artifacts"
        self.backup = root / "backup"
        self.uploads = self.run / "uploads"

    def create(self) -> None:
        """Make what is missing."""
        for folder in (
            self.root,
            self.secrets,
            self.db,
            self.run,
            self.log,
            self.envoy,
            self.users,
            self.jobs,
            self.executions,
            self.shares,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.artifacts, self.backup, self.uploads):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def closing(self) -> Path:
        """A file that is there while the portal goes down: nothing is decided or started then."""
        return self.run / "closing"

    @property
    def resolved(self) -> Path:
        """The settings of the running portal, as `up` resolved them."""
        return self.run / "settings.json"

    def secret(self, name: str) -> str:
        """The text of one secret. Its file must exist: `up` makes them."""
        return (self.secrets / name).read_text().strip()


class Image(BaseModel):
    """What a server is made from. On one machine that is a Python with JupyterLab in it, or a command.

    Without either it is the portal's own. An empty title is the name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9](?:[._-]?[a-z0-9])*$", max_length=60)
    title: str = Field("", max_length=100)
    python: Path | None = None
    command: list[str] = []

    @model_validator(mode="after")
    def _one_of_two(self) -> Image:
        if self.python is not None and self.command:
            raise PydanticCustomError("two_ways", "an image has a python or a command, and not both")
        return self


class Settings(BaseModel):
    """What can be set. Each field is `DURE_<NAME>` in the environment and `<name>` in dure.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(DEFAULT_DATA, description="Folder that holds everything the portal keeps.")
    host: str = Field(
        "127.0.0.1", description="Address the front port listens on; loopback unless told otherwise."
    )
    port: int = Field(8000, ge=1, le=65535, description="Front port: the one port people use.")
    public_url: str = Field("", description="Address people type, if a proxy of yours stands in front.")
    subdomain_host: str = Field(
        "",
        description="Address, as `https://dure.example`, below which each person's servers get a host of their "
        "own; needs wildcard DNS. Empty is one host for all.",
    )
    language: Literal["en", "ko"] = Field("en", description="Language where the reader has not said one.")

    hub_port: int = Field(0, ge=0, le=65535, description="JupyterHub's own port on loopback; 0 lets `up` choose.")
    portal_port: int = Field(0, ge=0, le=65535, description="The service's port on loopback; 0 lets `up` choose.")
    instance: str = Field("", description="Mark of this data folder's processes; `up` makes it once.")
    clock_file: Path | None = Field(None, description="File with an offset in seconds added to now; for tests.")

    auth: Literal["password", "oidc"] = Field("password", description="Who checks logins.")
    oidc_authorize_url: str = Field("", description="OIDC provider's authorization endpoint.")
    oidc_token_url: str = Field("", description="OIDC provider's token endpoint.")
    oidc_userdata_url: str = Field("", description="OIDC provider's userinfo endpoint.")
    oidc_client_id: str = Field("", description="Client id that the OIDC provider gave this portal.")
    oidc_client_secret_file: Path | None = Field(None, description="File of mode 600 with the client secret.")
    oidc_username_claim: str = Field("preferred_username", description="Claim that becomes the user's name.")
    oidc_admins: list[str] = Field([], description="Names that are administrators when login is by OIDC.")

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
        1024, ge=0, description="With less free disk `up` does not start; uploads leave as much (MiB)."
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

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, address: str) -> str:
        """Paths are put behind it, and they begin with one."""
        return address.rstrip("/")

    @field_validator("subdomain_host")
    @classmethod
    def _whole_host(cls, address: str, info: ValidationInfo) -> str:
        """Names are put before it, and paths behind it."""
        address = address.rstrip("/").lower()
        if address and not _HOSTS.fullmatch(address):
            rule = "it is http:// or https://, a name with a dot in it, and a port where it has one"
            raise PydanticCustomError("not_a_host", rule)
        public = info.data.get("public_url", "").lower()
        if address and (public or address.startswith("https:")) and public != address:
            # Envoy speaks plain http; https means that a proxy stands in front, which public_url says.
            raise PydanticCustomError("not_public_url", "with https or a public_url, the two are the same address")
        return address

    @property
    def folder(self) -> DataFolder:
        """Where things lie."""
        return DataFolder(self.data.expanduser().resolve())

    @property
    def artifacts(self) -> str:
        """The artifact store's URL."""
        return self.artifacts_url or self.folder.artifacts.as_uri()

    @property
    def oidc_client_secret(self) -> str:
        """The client secret from its file; empty where none is named."""
        return self.oidc_client_secret_file.read_text().strip() if self.oidc_client_secret_file else ""

    @property
    def address(self) -> str:
        """The address that people type."""
        return self.public_url or self.subdomain_host or self.front_url

    @property
    def front_url(self) -> str:
        """The address of the front port from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"

    def save(self) -> None:
        """Write what `up` resolved, for every other process of this portal."""
        target = self.folder.resolved
        temporary = target.with_suffix(".tmp")
        temporary.write_text(self.model_dump_json(indent=2))
        temporary.chmod(0o600)
        temporary.replace(target)


def load_settings(data: Path | str) -> Settings:
    """The settings that `up` resolved for this data folder; variables and flags are not looked at again."""
    return Settings.model_validate(_read_json(DataFolder(Path(data).expanduser().resolve()).resolved))


def resolve_settings(**flags: Any) -> Settings:
    """Resolve flags, environment, dure.yaml and defaults, in this order. Only `up` and its kin call it."""
    return Settings.model_validate(_Sources(**flags).model_dump())


class _Sources(Settings, BaseSettings):
    model_config = SettingsConfigDict(env_prefix="DURE_", extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags come as arguments, then the environment, then dure.yaml of the folder those two name."""
        data = init_settings().get("data") or os.environ.get("DURE_DATA") or DEFAULT_DATA
        return init_settings, env_settings, _YamlSource(settings_cls, Path(data).expanduser() / "dure.yaml")


def _read_json(path: Path) -> Mapping[str, Any]:
    loaded = yaml.safe_load(path.read_text())  # JSON is YAML; one reader for both
    return loaded if isinstance(loaded, Mapping) else {}


class _YamlSource(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self.path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(_read_json(self.path)) if self.path.exists() else {}
