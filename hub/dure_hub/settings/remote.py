"""Where Envoy is a place of its own: how it asks for routes, and where it finds what it leads to."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only where Envoy is elsewhere, and then asked for by `portal_host`
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}", flags=re.ASCII)


class Remote(BaseModel):
    """An Envoy that shares neither files nor loopback with the portal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    xds_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port at which Envoys that run elsewhere ask for routes (REST xDS); 0 is one Envoy on this "
        "machine, which `up` starts and which reads files.",
    )
    xds_token_file: Path | None = Field(
        None,
        description="File with what such an Envoy shows when it asks, the same as its own `--token-file`; "
        "none is `secrets/xds-token` of the data folder.",
    )
    portal_host: str = Field(
        "",
        description="Name or address at which such an Envoy reaches hub, portal, MLflow and Voila, which then "
        "listen on all addresses: admit Envoy alone to their ports. Empty is loopback. Needs `xds_port`.",
    )
    mlflow_port: int = Field(
        0, ge=0, le=65535, description="MLflow's port where `portal_host` is set; 0 lets `up` choose."
    )
    voila_port: int = Field(
        0, ge=0, le=65535, description="Voila's port where `portal_host` is set; 0 lets `up` choose."
    )
    inside_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s]+)?$",
        description="The front port for servers, jobs and dashboards, as `http://dure-envoy:8000`, where that is "
        "on another machine; empty is this one.",
    )

    @field_validator("xds_token_file")
    @classmethod
    def _whole_token_file(cls, path: Path | None) -> Path | None:
        """Processes that start in other folders must find the same file."""
        return None if path is None else path.expanduser().resolve()

    @field_validator("portal_host")
    @classmethod
    def _a_host(cls, host: str, info: ValidationInfo) -> str:
        """A port is put behind it."""
        if host and not info.data.get("xds_port"):
            raise PydanticCustomError(
                "no_xds_port", "it is for an Envoy elsewhere, which asks at xds_port: set both"
            )
        if not host or _NAME.fullmatch(host):
            return host
        try:
            return str(ip_address(host))
        except ValueError:
            rule = "it is a name as dure-portal.mlops-platform or an address, without a port"
            raise PydanticCustomError("not_a_host", rule) from None

    @property
    def own_host(self) -> str:
        """Where the portal's own services listen."""
        return EVERYWHERE if self.portal_host else LOOPBACK

    def reached_at(self, port: int) -> str:
        """`host:port` of one of them, for Envoy."""
        return f"{in_url(self.portal_host or LOOPBACK)}:{port}"


def in_url(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host
