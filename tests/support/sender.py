"""Sends what is due of a data folder, until it is ended: `python -m tests.support.sender DATA`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from dure_hub.app import operations


async def main(data: Path) -> None:
    """As the portal's loop does."""
    ops = operations(data)
    while True:
        await ops.notices.work()
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
