"""Commands about GPUs: `dure gpus`, `dure queue`."""

from __future__ import annotations

import argparse
from typing import Any

from dure.display import Table, shown, write
from dure.errors import reader_language

HELP = {
    "gpus": {"en": "GPUs in a few numbers, and one by one", "ko": "GPU 요약과 목록"},
    "queue": {"en": "who waits, for what, until when", "ko": "대기열: 무엇을 언제까지 기다리는지"},
    "node": {"en": "GPUs of this node only", "ko": "이 노드의 GPU만"},
    "summary": {"en": "the numbers alone", "ko": "요약만"},
    "cut": {
        "en": "cut this GPU into the MIG profiles given by --mig (administrators)",
        "ko": "이 GPU를 --mig의 MIG 프로필로 나눔 (관리자)",
    },
    "mig": {
        "en": "a MIG profile, as 3g.40gb or 3g.40gb@4, once for each",
        "ko": "MIG 프로필. 3g.40gb 또는 3g.40gb@4, 여러 번 쓸 수 있음",
    },
}
_NUMBERS = {
    "total_gpu_devices": {"en": "GPUs", "ko": "GPU"},
    "active_allocations": {"en": "leases on them", "ko": "사용 중인 임대"},
    "total_mig_instances": {"en": "MIG instances", "ko": "MIG 인스턴스"},
    "overall_gpu_utilization": {"en": "utilization", "ko": "사용률"},
}
_SIMULATED = {"en": "Simulated: these GPUs are not really there.", "ko": "시뮬레이션: 실제 GPU가 아닙니다."}


def register(subparsers: Any) -> None:
    """Add these commands to the `dure` command."""
    gpus = _add(subparsers, "gpus", _gpus)
    gpus.add_argument("--node", help=_help("node"))
    gpus.add_argument("--summary", action="store_true", help=_help("summary"))
    gpus.add_argument("--cut", metavar="GPU", help=_help("cut"))
    gpus.add_argument("--mig", action="append", default=[], metavar="PROFILE", help=_help("mig"))
    _add(subparsers, "queue", _queue)


def _add(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=_help(name), description=_help(name))
    parser.set_defaults(run=run)
    return parser


def _help(name: str) -> str:
    return HELP[name][reader_language()]


def _gpus(arguments: argparse.Namespace) -> int:
    from dure import gpus

    if arguments.cut is not None:
        device = gpus.cut(arguments.cut, arguments.mig)
        write(f"{Table(device.mig_instances, ('profile', 'start', 'uuid', 'held'))!r}\n")
        return 0
    numbers, language = gpus.overview(), reader_language()
    if numbers.simulated:
        write(_SIMULATED[language] + "\n")
    for field, text in _NUMBERS.items():
        write(f"{text[language]}: {shown(getattr(numbers, field))}\n")
    for model, count in sorted(numbers.devices_by_model.items()):
        write(f"  {model}: {count}\n")
    if not arguments.summary:
        write(f"{gpus.list(arguments.node)!r}\n")
    return 0


def _queue(_arguments: argparse.Namespace) -> int:
    from dure import gpus

    write(f"{gpus.queue()!r}\n")
    return 0
