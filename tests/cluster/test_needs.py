"""What is built before chosen tests: enough for each of them, and not all for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.needs import needed_by

pytestmark = pytest.mark.anywhere


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("from tests.cluster import images", True),
        ("from tests.cluster import helm, images", True),
        ("from tests.cluster.images import put", True),
        ("from tests.cluster import helm", False),
        ("from tests.cluster.images_of_others import put", False),
        ("import images", False),
    ],
)
def test_a_file_needs_what_it_imports(tmp_path: Path, line: str, needed: bool) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(f"import os\n{line}\n")
    assert needed_by([f"{file}::test_y", "-q"], "images") is needed


@pytest.mark.parametrize("words", [[], ["-k", "slice"], ["tests/cluster"]])
def test_all_is_needed_where_no_file_is_named(words: list[str]) -> None:
    assert needed_by(words, "images")
