"""Processes as the kernel shows them."""

from __future__ import annotations

import os
import subprocess
import sys

ODD_NAME = """
import ctypes, os
from dure_hub.supervisor import processes
ctypes.CDLL(None).prctl(15, b"x) Z \\xec\\x95", 0, 0, 0)  # PR_SET_NAME
me = processes.identify(os.getpid())
print(me is not None and me.alive(), {os.getpid(), os.getppid()} <= processes.ancestors())
"""


def test_a_name_cut_inside_a_character_hides_no_process() -> None:
    """The kernel cuts names after 15 bytes, Korean ones in the middle of a character."""
    done = subprocess.run([sys.executable, "-c", ODD_NAME], capture_output=True, text=True, env={**os.environ})
    assert done.stdout == "True True\n", done.stderr
