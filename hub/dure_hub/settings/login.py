"""Who checks logins."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

DISABLED = (
    "(|(pwdAccountLockedTime=000001010000Z)(nsAccountLock=TRUE)(userAccountControl:1.2.840.113556.1.4.803:=2))"
)
"""Accounts that a directory's administrator has switched off: OpenLDAP's, 389's and Active Directory's way."""


class Login(BaseModel):
    """How people show who they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auth: Literal["password", "oidc", "ldap"] = Field("password", description="Who checks logins.")
    login_title: str = Field("", max_length=60, description="What the login page calls the login provider.")
    login_admin_group: str = Field(
        "", description="Group at the login provider whose members are administrators; empty is none."
    )
    login_team_prefix: str = Field(
        "", description="Groups of the login provider that begin so are teams, named without it; empty is all."
    )
    login_teams: list[str] = Field(
        [], description="Groups whose teams have other names, each as `group=team`; these need no prefix."
    )
    login_check_s: int = Field(
        120, ge=5, le=240, description="Time between two questions to the login provider about a person."
    )
    login_notice_s: int = Field(
        600, ge=0, le=3600, description="How long a server goes on whose owner may use it no more, to be saved."
    )
    login_unchecked_s: int = Field(
        86400, ge=600, description="How long people go on whom the login provider cannot be asked about."
    )
    key_lifetime_s: int = Field(
        90 * 86400, ge=60, description="Lifetime of a machine's key where none is asked for."
    )
    key_lifetime_max_s: int = Field(366 * 86400, ge=60, description="Longest lifetime of a machine's key.")
    oidc_issuer: str = Field(
        "", description="OIDC provider's issuer; its endpoints are found there, and its tokens checked."
    )
    oidc_authorize_url: str = Field("", description="OIDC provider's authorization endpoint, without an issuer.")
    oidc_token_url: str = Field("", description="OIDC provider's token endpoint, without an issuer.")
    oidc_userdata_url: str = Field("", description="OIDC provider's userinfo endpoint, without an issuer.")
    oidc_client_id: str = Field("", description="Client id that the OIDC provider gave this portal.")
    oidc_client_secret_file: Path | None = Field(None, description="File of mode 600 with the client secret.")
    oidc_scopes: list[str] = Field(
        [],
        description="Scopes asked of the OIDC provider; none is `openid profile email`, with `offline_access` and "
        "`groups` where it offers them.",
    )
    oidc_username_claim: str = Field("preferred_username", description="Claim that becomes the user's name.")
    oidc_groups_claim: str = Field(
        "", description="Claim with a person's groups, which become teams; empty leaves teams to this portal."
    )
    oidc_ca_file: Path | None = Field(None, description="Certificates by which the OIDC provider is known.")
    oidc_admins: list[str] = Field([], description="Names that are administrators when login is by OIDC or LDAP.")
    ldap_url: str = Field("", description="The directory, as `ldaps://ldap.example.org`.")
    ldap_start_tls: bool = Field(True, description="Whether an `ldap://` connection is encrypted by StartTLS.")
    ldap_ca_file: Path | None = Field(None, description="Certificates by which the directory is known.")
    ldap_bind_dn: str = Field(
        "", description="Account that looks people up, and asks about them later; empty needs `ldap_user_dn`."
    )
    ldap_bind_password_file: Path | None = Field(None, description="File of mode 600 with its password.")
    ldap_user_base: str = Field("", description="Entry below which people are looked for.")
    ldap_user_filter: str = Field("(uid={name})", description="Finds a person; `{name}` is what was typed.")
    ldap_user_dn: str = Field(
        "", description="Where people are, as `uid={name},ou=people,dc=example,dc=org`, in place of a search."
    )
    ldap_name_attribute: str = Field("uid", description="Attribute that becomes the user's name.")
    ldap_disabled_filter: str = Field(DISABLED, description="Accounts that match are disabled.")
    ldap_groups: Literal["none", "memberof", "search"] = Field(
        "none", description="Where a person's groups are, which become teams: nowhere, in `memberOf`, in groups."
    )
    ldap_group_base: str = Field("", description="Entry below which groups count, and are looked for.")
    ldap_group_filter: str = Field(
        "(|(member={dn})(uniqueMember={dn})(memberUid={name}))", description="Finds the groups of a person."
    )
    ldap_group_attribute: str = Field("cn", description="Attribute that is a group's name.")

    @field_validator("login_teams")
    @classmethod
    def _pairs(cls, pairs: list[str]) -> list[str]:
        """Each names both."""
        for pair in pairs:
            group, sign, team = pair.rpartition("=")
            if not (sign and group.strip() and team.strip()) or len(team.strip()) > 100:
                raise PydanticCustomError("no_pair", "each is `group=team`; {pair} is not", {"pair": pair})
        return pairs

    @field_validator("oidc_issuer")
    @classmethod
    def _guarded(cls, address: str) -> str:
        """Codes and secrets go there."""
        if address and not _encrypted(address, "https"):
            raise PydanticCustomError(
                "not_encrypted", "it begins with https:// (http:// is for this machine alone)"
            )
        return address

    @field_validator("ldap_url")
    @classmethod
    def _directory(cls, address: str) -> str:
        """An address of a directory."""
        if address and (urlsplit(address).scheme not in ("ldap", "ldaps") or not urlsplit(address).hostname):
            raise PydanticCustomError("no_directory", "it is ldaps://host or ldap://host, perhaps with :port")
        return address

    @field_validator(
        "oidc_client_secret_file", "oidc_ca_file", "ldap_ca_file", "ldap_bind_password_file", mode="after"
    )
    @classmethod
    def _whole_place(cls, path: Path | None) -> Path | None:
        """Processes that start in other folders must find the same file."""
        return None if path is None else path.expanduser().resolve()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """No password crosses a network in the clear."""
        if self.auth != "ldap":
            return self
        if not self.ldap_url or not (self.ldap_user_base or self.ldap_user_dn):
            raise PydanticCustomError(
                "ldap_incomplete", "`auth: ldap` needs `ldap_url`, and `ldap_user_base` or `ldap_user_dn`"
            )
        if not self.ldap_start_tls and not _encrypted(self.ldap_url, "ldaps"):
            raise PydanticCustomError(
                "not_encrypted",
                "without `ldap_start_tls`, `ldap_url` is ldaps:// (ldap:// is for this machine alone)",
            )
        if not self.ldap_user_dn and not self.ldap_bind_dn:
            raise PydanticCustomError("ldap_incomplete", "a search for people needs `ldap_bind_dn`")
        return self

    @property
    def oidc_client_secret(self) -> str:
        """The client secret from its file; empty where none is named."""
        return _secret(self.oidc_client_secret_file)

    @property
    def ldap_bind_password(self) -> str:
        """The password of the account that looks people up; empty where no file is named."""
        return _secret(self.ldap_bind_password_file)

    @property
    def team_names(self) -> dict[str, str]:
        """The team of each group that has another name."""
        pairs = (pair.rpartition("=") for pair in self.login_teams)
        return {group.strip(): team.strip() for group, _, team in pairs}

    @property
    def groups_managed(self) -> bool:
        """Whether the login provider says who is in which team; the portal's own lists then do not."""
        if self.auth == "oidc":
            return bool(self.oidc_groups_claim)
        return self.auth == "ldap" and self.ldap_groups != "none"


def _secret(path: Path | None) -> str:
    return path.read_text().strip() if path else ""


def _encrypted(address: str, scheme: str) -> bool:
    """Whether this address is reached over TLS, or is this machine."""
    parts = urlsplit(address)
    if parts.scheme == scheme and parts.hostname:
        return True
    if parts.scheme + "s" != scheme:
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
