"""The portal service's half of REST xDS alone: `python -m tests.contract.dataplane.answering DATA`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from dure_hub.services.discovery import answering
from dure_hub.settings import load_settings


async def main(data: str) -> None:
    """Answer until asked to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with answering(load_settings(data)):
        await ended.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(sys.argv[1]))
