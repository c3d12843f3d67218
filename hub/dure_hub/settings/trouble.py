"""When the portal holds back: a disk that fills up, GPUs that others use, logs that are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Trouble(BaseModel):
    """What is too little, too much, and too long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    disk_minimum_percent: float = Field(
        5, ge=0, le=90, description="With a smaller share of the disk free nothing new starts."
    )
    disk_reserve_mb: int = Field(
        64,
        ge=0,
        le=4096,
        description="Disk (MiB) set aside and let go when it is full, so that stops and the ledger still work.",
    )
    outside_memory_mb: int = Field(
        300,
        ge=0,
        description="A GPU of which a process that is not the portal's has so much memory (MiB) is not granted.",
    )
    outside_allowed: list[str] = Field(
        ["Xorg", "Xwayland", "gnome-shell", "kwin_wayland", "kwin_x11", "plasmashell", "nvidia-persistenced"],
        description="Programs that may use a GPU beside leases.",
    )
    lease_logs_days: int = Field(90, ge=0, description="How long the log of a lease is kept after its end.")
    lease_logs_kept: int = Field(5000, ge=0, description="Logs of ended leases that are kept at most.")
    lease_logs_mb: int = Field(2048, ge=0, description="What these take of the disk at most (MiB).")
