"""Where things lie in the data folder."""

from __future__ import annotations

from pathlib import Path

RESERVE = ("reserve", "reserve.new")
"""What lies beside the databases and is none: disk that is kept free for them, and that while it is set aside."""


class DataFolder:
    """The places under `DURE_DATA`. Folders have mode 700; files under `secrets/` have mode 600."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "dure.yaml"
        self.rates = root / "rates.yaml"
        self.profiles = root / "profiles.yaml"
        self.secrets = root / "secrets"
        self.db = root / "db"
        self.run = root / "run"
        self.log = root / "log"
        self.envoy = root / "envoy"
        self.users = root / "users"
        self.jobs = root / "jobs"
        self.executions = root / "executions"
        self.shares = root / "shares"
        self.given = root / "given"
        self.artifacts = root / "artifacts"
        self.backup = root / "backup"
        self.uploads = self.run / "uploads"
        self.upgrading = root / "db.upgrading"
        """Copies of the databases that are being migrated, until they take the place of `db`."""
        self.lease_logs = self.log / "leases"

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
            self.given,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.artifacts, self.backup, self.uploads):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def closing(self) -> Path:
        """A file that is there while the portal goes down: nothing is decided or started then."""
        return self.run / "closing"

    @property
    def good_profiles(self) -> Path:
        """The last profiles.yaml that could be used: it counts while that is broken or gone."""
        return self.run / "profiles.good.yaml"

    @property
    def resolved(self) -> Path:
        """The settings of the running portal, as `up` resolved them."""
        return self.run / "settings.json"

    def secret(self, name: str) -> str:
        """The text of one secret. Its file must exist: `up` makes them."""
        return (self.secrets / name).read_text().strip()
