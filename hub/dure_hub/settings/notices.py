"""Where notices may be sent."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

SCHEMES = (
    "json",
    "jsons",
    "mailto",
    "mailtos",
    "slack",
    "discord",
    "msteams",
    "workflows",
    "gchat",
    "mmost",
    "mmosts",
    "ntfy",
    "ntfys",
    "gotify",
    "gotifys",
    "tgram",
)
NEVER = frozenset(
    {
        "apprise",
        "apprises",
        "blink1",
        "dbus",
        "file",
        "glib",
        "gnome",
        "kde",
        "macosx",
        "mqtt",
        "mqtts",
        "qt",
        "syslog",
        "rsyslog",
        "windows",
    }
)
"""What acts on this machine, or speaks for somebody else: no setting lets it in."""


class NoticeSending(BaseModel):
    """How notices leave the portal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notice_schemes: list[str] = Field(
        list(SCHEMES),
        description="Kinds of addresses that people may have notices sent to, as Apprise names them.",
    )
    notice_networks: list[str] = Field(
        [],
        description="Networks that are not public and that notices may be sent to all the same, as `10.1.0.0/16`; "
        "empty is none, this machine included.",
    )
    mail_url_file: Path | None = Field(
        None,
        description="File of mode 600 with the portal's own mail server, as Apprise writes it: "
        "`mailtos://name:password@smtp.example.org?from=dure@example.org`.",
    )
    mail_address: str = Field(
        "",
        pattern=r"^(|[^\s,;<>\"]*\{name\}[^\s,;<>\"]*@[^\s,;<>\"@]+|\{name\})$",
        description="Where that mail goes, as `{name}@example.org`; empty is nowhere.",
    )
    notices_kept_days: int = Field(90, ge=1, le=3650, description="How long notices are kept.")

    @field_validator("notice_schemes")
    @classmethod
    def _from_afar(cls, schemes: list[str]) -> list[str]:
        """Only what goes over a network to somebody else."""
        if wrong := sorted(NEVER.intersection(schemes)):
            rule = "these act on the portal's own machine, or for somebody else: {wrong}"
            raise PydanticCustomError("local_scheme", rule, {"wrong": ", ".join(wrong)})
        return schemes

    @field_validator("notice_networks")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        """Written as networks, and none of the bits beyond."""
        for one in networks:
            try:
                ip_network(one)
            except ValueError as error:
                raise PydanticCustomError("not_a_network", "{why}", {"why": str(error)}) from error
        return networks

    @field_validator("mail_url_file")
    @classmethod
    def _whole_path_of_mail(cls, path: Path | None) -> Path | None:
        """Processes that start in other folders must find the same file."""
        return None if path is None else path.expanduser().resolve()

    @property
    def mails(self) -> bool:
        """Whether the portal itself sends mail."""
        return self.mail_url_file is not None and bool(self.mail_address)
