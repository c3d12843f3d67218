"""Who checks logins."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Login(BaseModel):
    """How people show who they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auth: Literal["password", "oidc"] = Field("password", description="Who checks logins.")
    oidc_authorize_url: str = Field("", description="OIDC provider's authorization endpoint.")
    oidc_token_url: str = Field("", description="OIDC provider's token endpoint.")
    oidc_userdata_url: str = Field("", description="OIDC provider's userinfo endpoint.")
    oidc_client_id: str = Field("", description="Client id that the OIDC provider gave this portal.")
    oidc_client_secret_file: Path | None = Field(None, description="File of mode 600 with the client secret.")
    oidc_username_claim: str = Field("preferred_username", description="Claim that becomes the user's name.")
    oidc_admins: list[str] = Field([], description="Names that are administrators when login is by OIDC.")

    @property
    def oidc_client_secret(self) -> str:
        """The client secret from its file; empty where none is named."""
        return self.oidc_client_secret_file.read_text().strip() if self.oidc_client_secret_file else ""

    @property
    def groups_managed(self) -> bool:
        """Whether the login provider says who is in which team; the portal's own lists then do not."""
        return False
