"""Names of servers: the API's rule, for starts that come straight through the hub."""

from __future__ import annotations

import re

from dure.wire.base import NAME_PATTERN

DEFAULT = "default"


def is_server_name(name: str) -> bool:
    """The default server's name is empty in the hub and `default` in the API, so nobody else may have that."""
    return name == "" or (name != DEFAULT and len(name) <= 30 and re.match(NAME_PATTERN, name) is not None)
