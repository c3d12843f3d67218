"""The `dure` command. Its words come from this package and from every other that offers some.

An entry point of the group `dure.commands` is a function `register(subparsers)`: it adds parsers and sets
`run`, a function of the parsed arguments that returns the exit code. Nothing is imported for words not used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TextIO

from dure.errors import DureError, reader_language

GROUP = "dure.commands"
INTERRUPTED = 130
DESCRIPTION = {
    "en": "Dure: a Jupyter-centric portal in which a team shares its GPUs.",
    "ko": "두레: 팀이 GPU를 함께 쓰는 주피터 포털.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. 1 is an error with a sentence, 2 a wrong command line."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 2
    try:
        return int(arguments.run(arguments) or 0)
    except DureError as error:
        say_error(error)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser with every command that is installed."""
    parser = argparse.ArgumentParser(prog="dure", description=DESCRIPTION[reader_language()])
    subparsers = parser.add_subparsers(metavar="COMMAND")
    if find_spec("dure.commands") is not None:
        import_module("dure.commands").register(subparsers)
    for entry in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        entry.load()(subparsers)
    return parser


def say_error(error: DureError, to: TextIO | None = None) -> None:
    """What happened and what to do, in the reader's language."""
    lines = (error.text(reader_language()), error.advice(reader_language()))
    print("\n".join(line for line in lines if line), file=to or sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
