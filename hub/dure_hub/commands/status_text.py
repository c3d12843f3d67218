"""`dure status` for people: a table, and the log's end of what does not start. Times are in the reader's zone."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dure.errors import Text, fill
from dure_hub.supervisor.words import line

WORDS: Mapping[str, Text] = {
    "url": {"en": "The portal is at {url}, up for {age}.", "ko": "포털 주소는 {url}, 가동 시간 {age}."},
    "simulated": {"en": "  Its GPUs are simulated ({fleet}).", "ko": "  GPU는 시뮬레이션입니다({fleet})."},
    "starting": {"en": "The portal at {url} is starting.", "ko": "{url}의 포털이 시작하는 중입니다."},
    "closing": {"en": "The portal at {url} is going down.", "ko": "{url}의 포털이 종료되는 중입니다."},
    "unwatched": {
        "en": "Its supervisor has ended, so nothing is restarted. Run: dure up",
        "ko": "감독 프로세스가 종료되어 재시작되지 않습니다. 실행하세요: dure up",
    },
    "beside": {
        "en": "The portal at {url}: something else than `dure up` runs its services, as a pod's containers.",
        "ko": "{url}의 포털: 서비스를 `dure up`이 아닌 다른 것이 실행합니다(파드의 컨테이너 등).",
    },
    "answers": {"en": "answers", "ko": "응답함"},
    "silent": {"en": "runs, but does not answer", "ko": "실행 중이지만 응답 없음"},
    "gone": {"en": "does not run", "ko": "실행 안 됨"},
    "quiet": {"en": "does not answer", "ko": "응답 없음"},
    "watches": {"en": "watches them", "ko": "감독 중"},
    "again": {"en": "starts again at {at}", "ko": "{at}에 다시 시작"},
    "now": {"en": "starts again now", "ko": "지금 다시 시작"},
    "signal": {"en": "{at} by {signal}", "ko": "{at} {signal}"},
    "code": {"en": "{at} with exit code {code}", "ko": "{at} 종료 코드 {code}"},
    "unseen": {"en": "{at}, nobody saw how", "ko": "{at}, 원인은 알 수 없음"},
    "killed": {"en": "without a word (killed?); found {at}", "ko": "기록 없이 종료(강제 종료?), 발견 {at}"},
    "rebooted": {"en": "with the machine (a reboot); found {at}", "ko": "머신 재부팅으로 종료, 발견 {at}"},
    "failing": {
        "en": "{service} does not start: it ended {times} times in a row before it answered. It is tried again, "
        "but only what its log tells of will help. The end of {log}:",
        "ko": "{service}이(가) 시작되지 않습니다. 응답하기 전에 {times}번 연속으로 종료되었습니다. "
        "계속 다시 시도하지만 로그에 나온 원인을 고쳐야 합니다. {log}의 마지막 부분:",
    },
}
HEADS: Mapping[str, Sequence[str]] = {
    "en": ("service", "state", "process", "since", "restarts", "last end"),
    "ko": ("서비스", "상태", "프로세스", "시작", "재시작", "마지막 종료"),
}


def text(found: Mapping[str, Any], language: str, folder: str) -> str:
    """What `look` found, as a page of text."""
    running = any(service["pid"] for service in found["services"].values())
    if not found["up"] and not found["beside"] and not running:
        return line("not_running", language, folder=folder)
    lines = []
    if found["beside"]:
        lines.append(word("beside", language, url=found["url"]))
    elif not found["up"]:
        lines.append(word("unwatched", language))
    else:
        key = found["phase"] if found["phase"] in ("starting", "closing") else "url"
        lines.append(word(key, language, url=found["url"], age=age(found["since"])))
    if found["simulated"]:
        lines.append(word("simulated", language, fleet=found["simulated"]))
    if (found["certificate"] or {}).get("trouble"):
        lines.append(f"  {found['certificate']['trouble']}")
    if found["profiles"]:
        lines.append(f"  {found['profiles']}")
    gone = "quiet" if found["beside"] else "gone"  # processes of another container cannot be seen
    rows = [_row(name, service, language, gone) for name, service in found["services"].items()]
    lines += table([HEADS[language], *rows, *_supervisor(found, language)])
    for name, service in found["services"].items():
        if service["failing"]:
            facts = {"service": name, "times": service["failed_starts"], "log": service["log"]}
            lines += ["", word("failing", language, **facts)]
            lines += [f"    {one}" for one in service["log_end"]]
    return "\n".join(lines)


def _row(name: str, service: Mapping[str, Any], language: str, gone: str) -> list[str]:
    state = word("answers" if service["answers"] else "silent" if service["pid"] else gone, language)
    if service["next_try"] is not None:
        due = service["next_try"] <= time.time()
        state = word("now", language) if due else word("again", language, at=clock(service["next_try"]))
    restarts = "?" if service["restarts"] is None else str(service["restarts"])
    pid = str(service["pid"] or "")
    return [name, state, pid, when(service["since"]), restarts, _end(service["last_end"], language)]


def _end(end: Mapping[str, Any] | None, language: str) -> str:
    if end is None:
        return ""
    key = "signal" if end["signal"] else "unseen" if end["code"] is None else "code"
    return word(key, language, at=when(end["at"]), signal=end["signal"], code=end["code"])


def _supervisor(found: Mapping[str, Any], language: str) -> list[list[str]]:
    if not found["up"]:
        return []
    lost = found["lost"] or {"times": 0}
    last = word(lost["why"], language, at=when(lost["found_at"])) if lost["times"] else ""
    state, times = word("watches", language), str(lost["times"])
    return [["supervisor", state, str(found["pid"]), when(found["since"]), times, last]]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns of one width, as a terminal shows them: a Korean letter takes two places."""
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = (
        "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True))
        for row in rows
    )
    return [f"  {row.rstrip()}" for row in padded]


def width(cell: str) -> int:
    """Places that a terminal needs."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


def when(at: float | None) -> str:
    """A time in the reader's zone, to the second; empty where there is none."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float) -> str:
    """The same without the day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def word(key: str, language: str, **facts: Any) -> str:
    """One of the sentences."""
    return fill(WORDS[key], language, facts)


def age(since: float | None) -> str:
    """How long something is there."""
    if since is None:
        return "?"
    seconds = max(0, int(time.time() - since))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{days}d " * bool(days) + f"{hours:02d}:{minutes:02d}:{seconds:02d}"
