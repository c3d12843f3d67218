"""The guides to logins say what the settings take, and the realm for Keycloak is the one they speak of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from dure_hub.policies.teams import teams_of
from dure_hub.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"


def settings_in(page: str) -> list[Settings]:
    """Every block of settings of a page, as the portal reads it."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    assert blocks
    return [Settings.model_validate(yaml.safe_load(block)) for block in blocks]


def realm() -> dict[str, Any]:
    """The file beside the guide."""
    loaded: dict[str, Any] = json.loads((DOCS / "keycloak" / "dure-realm.json").read_text())
    return loaded


def test_the_guides_settings_are_settings() -> None:
    ways = [settings.auth for settings in settings_in("logins.md")]
    assert ways == ["oidc", "ldap"]
    assert all(settings.groups_managed for settings in settings_in("logins.md"))


def test_the_realm_is_what_the_guide_says() -> None:
    (settings,) = settings_in("keycloak.md")
    (client,) = realm()["clients"]
    assert settings.oidc_issuer.endswith(f"/realms/{realm()['realm']}")
    assert settings.oidc_client_id == client["clientId"]
    assert client["redirectUris"] == [f"{settings.address}/hub/oauth_callback"]
    assert (client["publicClient"], client["standardFlowEnabled"]) == (False, True)
    assert not client["implicitFlowEnabled"]
    assert not client["directAccessGrantsEnabled"]
    assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    assert "secret" not in client, "Keycloak makes one; a file that everybody has holds none"
    (mapper,) = client["protocolMappers"]
    assert mapper["config"]["claim.name"] == settings.oidc_groups_claim
    assert mapper["config"]["userinfo.token.claim"] == "true"
    groups = [f"/{group['name']}" for group in realm()["groups"]]
    assert settings.login_admin_group in groups
    assert teams_of(groups, settings.login_team_prefix, settings.team_names).names == ("admins", "nlp", "vision")


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.example.org"},
        {"oidc_issuer": "login.example.org"},
        {"auth": "ldap"},
        {"auth": "ldap", "ldap_url": "ldap://x", "ldap_user_base": "dc=x"},
        {"auth": "ldap", "ldap_url": "ldap://x", "ldap_user_dn": "uid={name},dc=x", "ldap_start_tls": False},
        {"ldap_url": "http://x"},
        {"login_teams": ["no pair"]},
        {"login_teams": ["=team"]},
        {"login_check_s": 301},
    ],
)
def test_what_would_let_secrets_out_or_mean_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"oidc_issuer": "http://127.0.0.1:8080/realms/dure"},
        {"auth": "ldap", "ldap_url": "ldaps://x", "ldap_user_dn": "uid={name},dc=x", "ldap_start_tls": False},
        {"auth": "ldap", "ldap_url": "ldap://[::1]", "ldap_user_dn": "uid={name},dc=x", "ldap_start_tls": False},
        {"auth": "oidc", "oidc_token_url": "https://x/token"},
    ],
)
def test_what_is_safe_is_taken(right: dict[str, Any]) -> None:
    assert Settings.model_validate(right)


def test_the_last_sign_parts_group_and_team() -> None:
    made = Settings(login_teams=["CN=ML People,DC=x=ml", " a = b "])
    assert made.team_names == {"CN=ML People,DC=x": "ml", "a": "b"}


@pytest.mark.parametrize(
    ("values", "managed"),
    [
        ({}, False),
        ({"auth": "oidc"}, False),
        ({"auth": "oidc", "oidc_groups_claim": "groups"}, True),
        ({"auth": "password", "oidc_groups_claim": "groups"}, False),
    ],
)
def test_who_says_who_is_in_which_team(values: dict[str, Any], managed: bool) -> None:
    assert Settings.model_validate(values).groups_managed is managed
