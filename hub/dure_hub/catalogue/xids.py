"""Which of NVIDIA's XID errors mean that a GPU itself is not fit for use, with what each of them says.

Source: NVIDIA, "XID Errors" (https://docs.nvidia.com/deploy/xid-errors/), the catalogue of XIDs with their
resolution. Listed is what NVIDIA answers with a reset, a reboot, or a look at the hardware. An XID that is not
here is taken for the application's own (13, 31, 43, 45, 68, 69, 94, 109 …), or for a note (63, 92): the GPU goes
on.
"""

from __future__ import annotations

from collections.abc import Mapping

FATAL: Mapping[int, Mapping[str, str]] = {
    46: {"en": "the GPU stopped processing", "ko": "GPU가 처리를 멈춤"},
    48: {"en": "double-bit ECC error", "ko": "이중 비트 ECC 오류"},
    62: {"en": "internal micro-controller halt", "ko": "내부 마이크로컨트롤러 정지"},
    64: {"en": "a faulty memory row could not be retired", "ko": "손상된 메모리 행을 격리하지 못함"},
    79: {"en": "the GPU has fallen off the bus", "ko": "GPU가 버스에서 떨어져 나감"},
    95: {"en": "uncontained memory error", "ko": "격리되지 않은 메모리 오류"},
    110: {"en": "security fault", "ko": "보안 오류"},
    119: {"en": "the GPU's system processor does not answer", "ko": "GPU 시스템 프로세서(GSP) 응답 없음"},
    120: {"en": "error of the GPU's system processor", "ko": "GPU 시스템 프로세서(GSP) 오류"},
    140: {"en": "unrecovered ECC error", "ko": "복구되지 않은 ECC 오류"},
    143: {"en": "the GPU could not be initialised", "ko": "GPU 초기화 실패"},
}
"""What is wrong, by XID, in each language."""


def is_fatal(xid: int) -> bool:
    """Whether the GPU is to be given to nobody until somebody has looked at it."""
    return xid in FATAL
