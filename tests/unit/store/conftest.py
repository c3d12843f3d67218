"""Both databases."""

from __future__ import annotations

from tests.support.postgres import database as database
from tests.support.postgres import new_database as new_database
from tests.support.postgres import postgres as postgres
