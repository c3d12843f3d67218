"""The guide's realm in a real Keycloak: what the portal asks of it, and what it says of whom it switches off.

Run by `DURE_TEST_KEYCLOAK=<folder>`; else it is skipped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from dure_hub.logins.oidc import groups_in
from dure_hub.logins.provider import Provider, Refused, nonce_of
from dure_hub.policies.teams import teams_of
from dure_hub.settings import Settings
from tests.support.keycloak import Keycloak, running

pytestmark = pytest.mark.timeout(400)
REDIRECT, VERIFIER = "http://127.0.0.1:9/hub/oauth_callback", "v" * 50


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    """One Keycloak with the guide's realm."""
    with running(tmp_path_factory.mktemp("kc")) as made:
        yield made


async def test_a_login_a_new_token_another_group_and_an_end(keycloak: Keycloak, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(keycloak.client_secret(REDIRECT))
    person = keycloak.add_person("ana", "ana-secret", ["/vision", "/dure-admins"])
    provider = Provider(
        Settings(
            data=tmp_path,
            auth="oidc",
            oidc_issuer=keycloak.issuer,
            oidc_client_id="dure",
            oidc_client_secret_file=secret,
        )
    )
    try:
        found = await provider.endpoints()
        assert "offline_access" in found.scopes
        code = log_in(found.authorize, "ana", "ana-secret")
        tokens = await provider.redeem(code, verifier=VERIFIER, redirect=REDIRECT)
        claims = await provider.claims(str(tokens["id_token"]), nonce_of(VERIFIER))
        told = await provider.userinfo(str(tokens["access_token"]))
        assert (claims["sub"], told["sub"], told["preferred_username"]) == (person, person, "ana")
        assert teams_of(groups_in(told, "groups") or []).names == ("dure-admins", "vision")
        tokens = await provider.refresh(str(tokens["refresh_token"]))
        keycloak.leave(person, "vision")
        told = await provider.userinfo(str(tokens["access_token"]))
        assert teams_of(groups_in(told, "groups") or []).names == ("dure-admins",)
        keycloak.enable(person, False)
        with pytest.raises(Refused):
            await provider.refresh(str(tokens["refresh_token"]))
        keycloak.enable(person, True)
        assert (await provider.refresh(str(tokens["refresh_token"])))["access_token"]
    finally:
        await provider.close()


def log_in(authorize: str, name: str, password: str) -> str:
    """Through Keycloak's own page, as a browser that the portal sent there; the code it comes back with."""
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    asked = {
        "client_id": "dure",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid profile email offline_access",
        "state": "x",
        "nonce": nonce_of(VERIFIER),
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    page = httpx.get(authorize, params=asked, timeout=30)
    form = re.search(r'action="([^"]+)"', page.text)
    assert form is not None, page.text[:1000]
    # Its cookies are for https; a browser makes an exception for loopback, and this client does not.
    cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    words = {"username": name, "password": password}
    back = httpx.post(html.unescape(form.group(1)), data=words, headers={"Cookie": cookies}, timeout=30)
    return parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
