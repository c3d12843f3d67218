"""What chosen tests need to be built: told by what their files import, before any of them is run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def needed_by(words: Sequence[str], module: str) -> bool:
    """Whether pytest, called with these words, may come to a test whose file imports this module of ours."""
    named = [Path(word.partition("::")[0]) for word in words]
    files = [file for file in named if file.suffix == ".py" and file.exists()]
    uses = re.compile(rf"^from {__package__}(\.{module} import| import .*\b{module}\b)", re.MULTILINE)
    return not files or any(uses.search(file.read_text()) for file in files)
