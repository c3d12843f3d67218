"""Where the portal listens, and what people type to reach it."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from dure_hub.settings.remote import LOOPBACK as LOOPBACK
from dure_hub.settings.remote import Remote, in_url

DEFAULT_DATA = Path("~/.dure")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATH = re.compile(r"/(?:(?!\.{1,2}/)[A-Za-z0-9._~-]+/)*", flags=re.ASCII)
_OPEN_IN_MLFLOW = ("/static", "/health", "/favicon.ico")
"""How the paths begin that MLflow's own authorisation lets everybody pass."""
_OPEN_RULE = "it does not begin with /static, /health or /favicon.ico, which MLflow leaves open to all"
_HOSTS = re.compile(rf"https?://(?:{_LABEL}\.)+(?=[a-z]){_LABEL}(?::[1-9][0-9]{{0,4}})?", flags=re.ASCII)


class Addresses(Remote):
    """The data folder, addresses and ports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(DEFAULT_DATA, description="Folder that holds everything the portal keeps.")
    host: str = Field(
        "127.0.0.1", description="Address the front port listens on; loopback unless told otherwise."
    )
    port: int = Field(8000, ge=1, le=65535, description="Front port: the one port people use.")
    tls_cert: Path | None = Field(
        None, description="PEM file with the certificate and its chain, for https at the front port."
    )
    tls_key: Path | None = Field(
        None, validate_default=True, description="PEM file of mode 600 with the certificate's key."
    )
    insecure_http: bool = Field(
        False, description="Whether the front port may speak plain http at an address that others reach."
    )
    public_url: str = Field(
        "",
        description="Address people type, where a proxy of yours stands in front or a certificate names it.",
    )
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
    inside_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on loopback for this machine's own programs where the front port speaks https; 0 lets "
        "`up` choose.",
    )
    instance: str = Field("", description="Mark of this data folder's processes; `up` makes it once.")
    clock_file: Path | None = Field(None, description="File with an offset in seconds added to now; for tests.")

    @field_validator("host")
    @classmethod
    def _of_this_machine(cls, host: str) -> str:
        """Envoy takes addresses alone."""
        if host == "localhost":
            return LOOPBACK
        try:
            return str(ip_address(host)) if host else host
        except ValueError:
            rule = "it is an address of this machine, such as 127.0.0.1 (or 0.0.0.0 for all), and no name"
            raise PydanticCustomError("not_an_address", rule) from None

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _same_place(cls, path: Path | None) -> Path | None:
        """Found from every folder. A link stays one: at a renewal it is made to point elsewhere."""
        return None if path is None else Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - as said

    @field_validator("tls_key")
    @classmethod
    def _both(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        """Neither is of use alone; an Envoy elsewhere has its own."""
        if (key is None) != (info.data.get("tls_cert") is None):
            raise PydanticCustomError("one_without_other", "tls_cert and tls_key are set both, or neither is")
        if key is not None and info.data.get("xds_port"):
            rule = "with xds_port they are where Envoy is: name them to `dure dataplane bootstrap`"
            raise PydanticCustomError("of_envoy", rule)
        return key

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, address: str, info: ValidationInfo) -> str:
        """Paths are put behind it, and they begin with one. Its scheme is compared with small letters."""
        scheme, between, rest = address.partition("://")
        address = f"{scheme.lower()}{between}{rest}"
        if address and info.data.get("tls_cert") and not address.startswith("https://"):
            raise PydanticCustomError("not_https", "with tls_cert it begins with https://")
        return address.rstrip("/")

    @field_validator("subdomain_host")
    @classmethod
    def _whole_host(cls, address: str, info: ValidationInfo) -> str:
        """Names are put before it, and paths behind it."""
        address = address.rstrip("/").lower()
        if address and not _HOSTS.fullmatch(address):
            rule = "it is http:// or https://, a name with a dot in it, and a port where it has one"
            raise PydanticCustomError("not_a_host", rule)
        public, own_tls = info.data.get("public_url", "").lower(), info.data.get("tls_cert") is not None
        if address and own_tls and not address.startswith("https:"):
            raise PydanticCustomError("not_https", "with tls_cert it begins with https://")
        if address and (public or (address.startswith("https:") and not own_tls)) and public != address:
            # Envoy speaks plain http without a certificate; https then means a proxy, which public_url says.
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
        if path.startswith(_OPEN_IN_MLFLOW):
            raise PydanticCustomError("open_in_mlflow", _OPEN_RULE)
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
        root = self.at("")
        if not self.public_url:
            return f"{self.subdomain_host}{root}" if self.subdomain_host else self.listens_at
        return self.public_url if urlsplit(self.public_url).path == root else f"{self.public_url}{root}"

    @property
    def listens_at(self) -> str:
        """The portal at the front port, from this machine; https where it has a certificate."""
        scheme = "http" if self.tls_cert is None else "https"
        return f"{scheme}://{in_url(LOOPBACK if self.everywhere else self.host)}:{self.port}{self.at('')}"

    @property
    def front_url(self) -> str:
        """The portal for its own programs: plain http, so that they need to trust no certificate."""
        if self.inside_url:
            return f"{self.inside_url}{self.at('')}"
        inside = f"http://{LOOPBACK}:{self.inside_port}{self.at('')}"
        return self.listens_at if self.tls_cert is None else inside

    def at(self, path: str) -> str:
        """A path of the portal, as `/hub/`, as the front port and browsers know it: below `base_url`."""
        return self.base_url[:-1] + path

    @property
    def behind_proxy(self) -> bool:
        """Whether a proxy of theirs stands in front, whose word on scheme and client counts.

        With a certificate of ours, `public_url` is only its name: nobody is believed who says who they are for.
        """
        return bool(self.public_url) and self.tls_cert is None

    @property
    def everywhere(self) -> bool:
        """Whether the front port listens on all addresses of this machine."""
        return self.host in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine reaches the front port."""
        return self.host != "" and ip_address(self.host).is_loopback
