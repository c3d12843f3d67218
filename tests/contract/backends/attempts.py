"""What the tests of accounts run as somebody: it says who it is, tries what ATTEMPTS lists, and says what came.

ATTEMPTS is a list of pairs, an action and what it is on. THEN says how it goes on: `wait` until it is ended,
`exit`, or `eat`, which takes memory until there is none.
"""

import grp
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OTHERWISE: dict[str, Callable[[str], Any]] = {
    "link": lambda on: Path(f"link-{os.getpid()}").hardlink_to(on),
    "delete": lambda on: Path(on).unlink(),
    "rename": lambda on: Path(on).rename(f"{on}.mine"),
    "chmod": lambda on: Path(on).chmod(0o755),
}
"""What else can be tried on a file."""


def tried(action: str, on: Any) -> Any:
    """`done`, what was read, or the name of the error."""
    try:
        if action == "read":
            return Path(on).read_text(errors="replace")
        if action == "list":
            return sorted(one.name for one in Path(on).iterdir())
        if action == "write":
            return Path(on).write_text("mine") and "done"
        if action in OTHERWISE:
            OTHERWISE[action](on)
            return "done"
        if action == "signal":
            os.kill(on, signal.SIGTERM)
            return "done"
        if action == "become":
            os.setuid(on)
            return "done"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(on)
            return "done"
    except OSError as error:
        return type(error).__name__


def status(name: str) -> str:
    """A line of the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    facts = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": sorted(grp.getgrgid(one).gr_name for one in os.getgroups()),
        "umask": status("Umask"),
        "no_new_privileges": status("NoNewPrivs"),
        "cwd": str(Path.cwd()),
        "cgroups": Path("/proc/self/cgroup").read_text(),
        "environment": dict(os.environ),
    }
    facts["attempts"] = [tried(*one) for one in json.loads(os.environ.get("ATTEMPTS", "[]"))]
    print(json.dumps(facts), flush=True)
    then = os.environ.get("THEN", "wait")
    if then == "exit":
        sys.exit(0)
    eaten = []
    while then == "eat":
        eaten.append(bytearray(os.urandom(1 << 20)))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
