"""Start the ranks of a job: `python -m dure.launch --standalone … -m dure.worker`, with torchrun's own words.

torchrun ends a failed job with a banner and a traceback of its own, and always with exit code 1. Here what the
code itself said stays the last of the log, and the exit code is that of the first rank that failed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    """Run the ranks to their end; 0, the first failure's exit code, or 128 and the signal that ended it."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main([*words])
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            # Who dies of a signal says nothing, so somebody has to.
            sys.stderr.write(f"Rank {rank} was ended by {_signal_name(-failure.exitcode)}.\n")
        return exit_code(failure.exitcode)
    except SignalException as asked:  # we were asked to stop, and the ranks have had their time
        return exit_code(-int(asked.sigval))
    return 0


def exit_code(code: int) -> int:
    """An exit code as shells show it: a signal, which Python tells as a negative number, is 128 and its number."""
    return 128 - code if code < 0 else code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
