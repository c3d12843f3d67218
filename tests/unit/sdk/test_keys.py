"""Keys by the SDK and by the command: shown once, listed without their text, ended by id or name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dure import cli, keys
from tests.unit.sdk.portal import portal

ID = "01J00000000000000000000000"
KEY: dict[str, Any] = {
    "id": ID,
    "owner": "ana",
    "name": "ci",
    "scopes": ["jobs"],
    "endpoints": [],
    "made_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-31T00:00:00Z",
    "used_at": None,
}


ROUTES: dict[str, Any] = {
    "POST /api/v1/keys": {**KEY, "key": "dure_key_x"},
    "GET /api/v1/keys": [KEY],
    f"DELETE /api/v1/keys/{ID}": httpx.Response(204),
}


def test_a_key_is_made_for_days_and_shown() -> None:
    with portal(ROUTES) as made:
        key = keys.create("ci", ["predict"], endpoints=["digits"], days=1.5)
        assert key.key == "dure_key_x"
        assert made.bodies == [
            {"name": "ci", "scopes": ["predict"], "endpoints": ["digits"], "admin": False, "lifetime_s": 129600}
        ]
        assert keys.list()[0].name == "ci"
        keys.revoke(key)
    assert made.paths("DELETE") == [f"/api/v1/keys/{ID}"]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with portal(ROUTES) as made:
        assert cli.main(["keys", "create", "ci", "--scope", "jobs"]) == 0
        said = capsys.readouterr().out
        assert said.splitlines()[-1] == "dure_key_x"
        assert "lifetime_s" not in made.bodies[-1]
        assert cli.main(["keys", "list"]) == 0
        assert "dure_key_x" not in capsys.readouterr().out
        assert cli.main(["keys", "revoke", "ci"]) == 0
    assert made.paths("DELETE") == [f"/api/v1/keys/{ID}"]
    with pytest.raises(SystemExit):
        cli.main(["keys", "create", "ci", "--scope", "everything"])
