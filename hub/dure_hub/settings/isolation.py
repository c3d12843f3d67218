"""Whether each person is an operating-system user of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Isolation(BaseModel):
    """Accounts of the system. `up` turns `auto` into `on` or `off`; every other process reads what it resolved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system_accounts: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether each person is an operating-system user of their own, kept to their profile's "
        "memory and cores; `auto` is on where the portal runs as root and others reach its Python and data.",
    )
    system_account_prefix: str = Field(
        "dure-",
        pattern=r"^[a-z][a-z0-9]{0,8}-$",
        description="How the names of those users begin; two portals of one machine need different ones.",
    )
