"""What profiles are called and how they are described, in every language."""

from __future__ import annotations

from collections.abc import Mapping

from dure_hub.catalogue.mig import MigProfile

Text = Mapping[str, str]


def cpu(cores: float, memory_mb: int) -> Text:
    """A notebook without a GPU."""
    return {
        "en": f"A notebook without a GPU: {cores:g} cores promised, {_gib(memory_mb)} of memory.",
        "ko": f"GPU 없는 노트북: 코어 {cores:g}개 보장, 메모리 {_gib(memory_mb)}.",
    }


def whole_title(model: str, number: int) -> Text:
    """Some whole GPUs."""
    return {"en": f"One {model}" if number == 1 else f"{number} x {model}", "ko": f"{model} {number}개"}


def whole(model: str, number: int, gpu_memory_mb: int | None, cores: float, memory_mb: int) -> Text:
    """The same in a sentence."""
    each_en = "" if gpu_memory_mb is None else f" with {_gib(gpu_memory_mb)}" + (" each" if number > 1 else "")
    each_ko = "" if gpu_memory_mb is None else f"({_gib(gpu_memory_mb)})"
    what_en = f"A whole {model}{each_en}" if number == 1 else f"{number} whole {model}{each_en} of one machine"
    what_ko = f"{model}{each_ko} 하나를" if number == 1 else f"한 머신의 {model}{each_ko} {number}개를"
    return {
        "en": f"{what_en}, yours alone; {_with_en(cores, memory_mb)}.",
        "ko": f"{what_ko} 혼자 사용합니다. {_with_ko(cores, memory_mb)}.",
    }


def instance_title(name: str) -> Text:
    """A MIG instance."""
    return {"en": f"MIG {name}", "ko": f"MIG {name}"}


def instance(model: str, one: MigProfile, cores: float, memory_mb: int) -> Text:
    """The same in a sentence."""
    size_en = "" if one.memory_mb is None else f" with {_gib(one.memory_mb)}"
    size_ko = "" if one.memory_mb is None else f"({_gib(one.memory_mb)})"
    extra_en, extra_ko = _EXTRAS.get(one.extra, ("", ""))
    return {
        "en": f"A part of a {model}{size_en}, yours alone: nobody else uses its processors or memory{extra_en}; "
        f"{_with_en(cores, memory_mb)}.",
        "ko": f"{model}의 한 조각{size_ko}을 혼자 사용합니다. 다른 사람이 이 프로세서와 메모리를 쓸 수 "
        f"없습니다{extra_ko}. {_with_ko(cores, memory_mb)}.",
    }


def share_title(name: str, model: str) -> Text:
    """A share of a GPU beside other holders."""
    if name.startswith("PROF-"):
        return {"en": f"{name}: part of a {model}", "ko": f"{name}: {model}의 일부"}
    return {"en": f"Shared {model}", "ko": f"{model} 공유"}


def share(
    model: str,
    part: tuple[int, int],
    size_mb: int | None,
    cores: float,
    memory_mb: int,
    *,
    enforced: bool,
    across: bool = False,
    common_shm: bool = False,
) -> Text:
    """The same in a sentence, which says with whom it is shared (`across`: people of any team), and whether its
    memory is kept for it. With `common_shm` the MPS daemon's shared memory is that of all its holders.
    """
    others_en, others_ko = ("others", "다른 사람") if across else ("others of your team", "팀의 다른 사람")
    size_en = f"1/{part[1] // part[0]} of its memory" if size_mb is None else f"{_gib(size_mb)} of its memory"
    size_ko = f"메모리의 1/{part[1] // part[0]}" if size_mb is None else f"메모리 {_gib(size_mb)}"
    kept_en = "kept for you by MPS" if enforced else "agreed among its holders, enforced by nobody"
    kept_ko = "MPS가 보장합니다" if enforced else "사용자끼리의 약속이며 강제되지 않습니다"
    shm_en, shm_ko = _COMMON_SHM if common_shm else ("", "")
    return {
        "en": f"A {model} together with {others_en}: {size_en}, {kept_en}; {_with_en(cores, memory_mb)}.{shm_en}",
        "ko": f"{others_ko}과 {model} 하나를 함께 씁니다. {size_ko}는 {kept_ko}. {_with_ko(cores, memory_mb)}."
        + shm_ko,
    }


_COMMON_SHM = (
    " Its /dev/shm is the MPS daemon's, of the daemon's size, and all who share the GPU see it.",
    " /dev/shm은 MPS 데몬의 것이며 크기도 데몬이 정하고, 같은 GPU를 쓰는 사람 모두에게 보입니다.",
)


def resized(description: Text, was: tuple[float, int], now: tuple[float, int]) -> Text:
    """The description of a profile with a GPU, with other cores and memory (MiB) than it was made with."""
    return {
        "en": description["en"].replace(_with_en(*was), _with_en(*now)),
        "ko": description["ko"].replace(_with_ko(*was), _with_ko(*now)),
    }


_EXTRAS: Mapping[str, tuple[str, str]] = {
    "+me": (", with the media engines", ", 미디어 엔진 포함"),
    "+gfx": (", with graphics", ", 그래픽 포함"),
    "+me.all": (", with all media engines", ", 모든 미디어 엔진 포함"),
    "-me": (", without media engines", ", 미디어 엔진 제외"),
}


def _with_en(cores: float, memory_mb: int) -> str:
    return f"{cores:g} cores promised and {_gib(memory_mb)} of memory"


def _with_ko(cores: float, memory_mb: int) -> str:
    return f"코어 {cores:g}개 보장, 메모리 {_gib(memory_mb)}"


def _gib(memory_mb: int) -> str:
    size = memory_mb / 1024
    return f"{size:.0f} GiB" if size >= 100 else f"{size:.3g} GiB"
