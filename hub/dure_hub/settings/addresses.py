"""Where the portal listens, and what people type to reach it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

DEFAULT_DATA = Path("~/.dure")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATH = re.compile(r"/(?:(?!\.{1,2}/)[A-Za-z0-9._~-]+/)*", flags=re.ASCII)
_HOSTS = re.compile(rf"https?://(?:{_LABEL}\.)+(?=[a-z]){_LABEL}(?::[1-9][0-9]{{0,4}})?", flags=re.ASCII)


class Addresses(BaseModel):
    """The data folder, addresses and ports."""

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
    base_url: str = Field(
        "/",
        description="Path below which all of the portal is, as `/dure/`, where a proxy of yours leads no other "
        "path here. Change it while the portal is down.",
    )

    hub_port: int = Field(0, ge=0, le=65535, description="JupyterHub's own port on loopback; 0 lets `up` choose.")
    portal_port: int = Field(0, ge=0, le=65535, description="The service's port on loopback; 0 lets `up` choose.")
    instance: str = Field("", description="Mark of this data folder's processes; `up` makes it once.")
    clock_file: Path | None = Field(None, description="File with an offset in seconds added to now; for tests.")

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

    @field_validator("base_url")
    @classmethod
    def _closed_path(cls, path: str, info: ValidationInfo) -> str:
        """It begins and ends with one slash, as paths are put behind it and compared with it."""
        path = path if path.startswith("/") else f"/{path}"
        path = path if path.endswith("/") else f"{path}/"
        if not _PATH.fullmatch(path):
            rule = "it is a path as /dure/ or /gpu/dure/, of letters, digits and - . _ ~, and no part is . or .."
            raise PydanticCustomError("not_a_path", rule)
        if path != "/" and info.data.get("subdomain_host"):
            raise PydanticCustomError(
                "no_whole_host", "with subdomain_host it is /, as each person has a whole host"
            )
        if path != "/" and urlsplit(info.data.get("public_url", "")).path not in ("", path[:-1]):
            raise PydanticCustomError("other_path", "the path in public_url is the same, or there is none")
        return path

    @property
    def address(self) -> str:
        """The address that people type."""
        typed = self.public_url.removesuffix(self.at(""))  # it may name the path, too
        return (typed or self.subdomain_host or self._front) + self.at("")

    @property
    def front_url(self) -> str:
        """The address of the portal from this machine: the front port, and the path that all is below."""
        return self._front + self.at("")

    def at(self, path: str) -> str:
        """A path of the portal, as `/hub/`, as the front port and browsers know it: below `base_url`."""
        return self.base_url[:-1] + path

    @property
    def _front(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"
