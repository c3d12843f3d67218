"""A server extension for tests: files that cannot be written or are slow, while the server's folder says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

FULL = "disk-is-full"
SLOW = {"get": "reading-waits", "save": "writing-waits"}
WAITING = "somebody-waits"
REFUSED = "times-refused"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    contents, root = server_app.contents_manager, Path(server_app.root_dir)
    for name in ("get", "save"):
        setattr(contents, name, _troubled(getattr(contents, name), name, root))


def _troubled(usual: Any, name: str, root: Path) -> Any:
    async def troubled(*args: Any, **more: Any) -> Any:
        if name == "save" and (root / FULL).exists():
            with (root / REFUSED).open("a") as times:
                times.write("1")
            raise OSError(28, "No space left on device")
        while (root / SLOW[name]).exists():
            (root / WAITING).touch()
            await asyncio.sleep(0.05)
        return await usual(*args, **more)

    return troubled
