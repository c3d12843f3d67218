"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def the_umask_stays() -> Iterator[None]:
    """Commands such as `dure backup` narrow that of their process, which here is the next test's, too."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
