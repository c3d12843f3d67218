"""The systemd unit of a portal, as text. Pure: what it says is in its arguments.

- `systemctl stop` is `dure down`: work saves, then all ends. So is the machine's shutdown.
- `systemctl restart` ends the supervisor alone (`SIGUSR1`), and the next one takes over what runs:
  `KillMode=process` leaves the rest of the group, and `ExecStop` does nothing where the job is a restart.
- A supervisor that is killed or cannot start is started again, every five seconds and for ever: after a power cut
  a disk or a database may come minutes later. `dure down` by hand is a success, so nothing starts it again.
- A kernel that the kernel's memory killer ends must not end the portal: `OOMPolicy=continue`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

MARGIN_S = 120
START_LIMIT_S = 900
"""Longest start: migrations of large databases with a copy before them, on a slow machine."""


@dataclass(frozen=True)
class Unit:
    """What a unit says. `user` is the account of a system unit; None is one's own (`systemctl --user`)."""

    name: str
    python: Path
    data: Path
    stop_limit_s: float
    user: str | None = None

    @property
    def own(self) -> bool:
        """Whether it belongs to one user's own systemd."""
        return self.user is None


def make_unit(unit: Unit) -> str:
    """The whole file. No secret is in it, and every path is absolute."""
    dure = [str(unit.python), "-P", "-m", "dure.cli"]
    scope = ["--user"] if unit.own else ["--system"]
    stop = [*dure, "service", "stop", "--data", str(unit.data), "--name", unit.name, *scope]
    account = [] if unit.own else [f"User={specifier(str(unit.user))}"]
    network = [] if unit.own else ["Wants=network-online.target", "After=network-online.target"]
    lines = [
        "# Written by `dure service install`; `dure service uninstall` removes it.",
        "[Unit]",
        f"Description=Dure portal of {specifier(str(unit.data))}",
        *network,
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        *account,
        f"Environment={quoted('DURE_DATA=' + str(unit.data))}",
        "WorkingDirectory=/",
        "UMask=0077",
        f"ExecStart={command([*dure, 'up', '--data', str(unit.data)])}",
        f"ExecStop={command(stop)}",
        "KillMode=process",
        "KillSignal=SIGUSR1",
        "Restart=on-failure",
        "RestartSec=5",
        f"TimeoutStartSec={START_LIMIT_S}",
        f"TimeoutStopSec={math.ceil(unit.stop_limit_s) + MARGIN_S}",
        "OOMPolicy=continue",
        "TasksMax=infinity",
        "LimitNOFILE=65536",
        "",
        "[Install]",
        f"WantedBy={'default.target' if unit.own else 'multi-user.target'}",
    ]
    return "\n".join(lines) + "\n"


def command(words: list[str]) -> str:
    """A command line as systemd reads it: each word quoted, no specifier in it, and no variable, for which the
    program's own path is not searched."""
    program, *rest = words
    return " ".join([quoted(program), *(quoted(word.replace("$", "$$")) for word in rest)])


def quoted(word: str) -> str:
    """One word in double quotes, as systemd.syntax(7) has it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{specifier(escaped)}"'


def specifier(text: str) -> str:
    """Text in which a percent sign stands for itself; a line break would begin another setting."""
    return text.replace("%", "%%").replace("\n", "\\n")
