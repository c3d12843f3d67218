"""A database of one's own: what `up` refuses before it touches anything, without showing a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure_hub.settings import Settings
from dure_hub.supervisor import database
from dure_hub.supervisor.errors import BadSetting, DatabaseAway
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres

SECRET = "only-between-us"


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql+psycopg://dure:{SECRET}@db/dure",
        f"postgresql+psycopg://dure@db/dure?password={SECRET}",
        f"postgresql://dure:{SECRET}@db/dure",
        f"mysql://dure:{SECRET}@db/dure",
        f"dure:{SECRET}@db",
    ],
)
def test_an_address_with_a_password_or_of_another_kind_is_refused_and_not_shown(
    tmp_path: Path, address: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        database.check(Settings(data=tmp_path, database_url=address))
    assert "database_url" in caught.value.text("en")
    assert SECRET not in f"{caught.value!r} {caught.value.text('en')} {caught.value.text('ko')}"


def test_the_password_file_is_the_portals_alone(tmp_path: Path, postgres: Postgres) -> None:
    file = tmp_path / "password"
    settings = Settings(data=tmp_path, database_url=postgres.empty(), database_password_file=file)
    with pytest.raises(BadSetting, match="No such file"):
        database.check(settings)
    file.write_text(SECRET)
    file.chmod(0o640)
    with pytest.raises(BadSetting, match="chmod 600"):
        database.check(settings)
    file.chmod(0o600)
    database.check(settings)


def test_a_server_that_is_away_is_named_with_what_to_do(tmp_path: Path) -> None:
    address = f"postgresql+psycopg://dure@/dure?host={tmp_path}"
    with pytest.raises(DatabaseAway, match="No such file or directory") as caught:
        database.check(Settings(data=tmp_path, database_url=address))
    assert "Background on this error" not in caught.value.text("en")
