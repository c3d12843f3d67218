"""Keeps one run: starts its command, waits for it, ends all it left behind and records how it went.

Run as `python -I -S keeper.py <run folder>`, with the command's environment as its own, so that secrets in it
are written nowhere; or forked by forkserver.py, with a `launch` that forks the command, too. It outlives the
portal and needs nothing from it. It imports the standard library only, and little of that, because a person waits
while it starts. It is a subreaper: whatever its command starts stays below it, in whatever session or group, and
is gone before `exit.json` appears.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would be half of the start
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Confined = dict[str, Any] | None

PR_SET_CHILD_SUBREAPER = 36
ASKED = {signal.SIGTERM, signal.SIGINT}
WATCHED = ASKED | {signal.SIGCHLD, signal.SIGHUP}
LONGEST_PAUSE_S = 10.0


def main(folder: str, launch: Callable[[list[str], str, Confined], tuple[int, str]]) -> int:
    """Keep the run whose record is in `folder`; the exit status says nothing, `exit.json` says it all."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    os.closerange(3, 1 << 16)
    os.chdir(folder)
    # Held for life: a second keeper of the same lease, from a start that was repeated, gives way.
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    if read("exit.json"):
        return 0
    if read("stop.json"):
        record_exit(None, "stopped", None)
        return 0
    spec = read("spec.json")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    confined: Confined = spec.get("confined")
    trouble = prepare(confined)
    if trouble:
        return give_up(trouble)
    child, trouble = launch(spec["command"], spec["cwd"], confined)
    if not trouble:
        record_start(child)
    code, asked = wait(child, float(spec["grace_s"]))
    end_all()
    lacked_memory = clear(confined)
    if trouble:
        return give_up(trouble)
    record_exit(code, reason(code, asked, lacked_memory), None)
    return 0


def give_up(trouble: str) -> int:
    """Nothing could be started."""
    say(f"Could not start: {trouble}")
    record_exit(None, "not_executable", trouble)
    return 0


def confinement() -> ModuleType:
    """What makes a process its owner's; in a keeper of its own, whose Python knows no packages, by its place."""
    if __package__:
        from dure_hub.isolation import confine

        return confine
    place = os.path.join(os.path.dirname(__file__), "../../isolation")  # noqa: PTH118, PTH120
    sys.path.insert(0, place)
    try:
        return __import__("confine")
    finally:
        sys.path.remove(place)


def prepare(confined: Confined) -> str:
    """Make the run's limits, where it has any; what went wrong, if something did."""
    if confined is None:
        return ""
    try:
        confinement().prepare(confined)
    except OSError as error:
        confinement().clear(confined)
        return f"its limits could not be set: {error}"
    return ""


def clear(confined: Confined) -> bool:
    """Remove the run's limits; whether it had run out of memory."""
    if confined is None:
        return False
    confine = confinement()
    lacked: bool = confine.out_of_memory(confined)
    confine.clear(confined)
    return lacked


def execute(command: list[str], cwd: str, confined: Confined) -> tuple[int, str]:
    """Start the command as the leader of its own session; pid, and why it could not start, if so."""
    told, tell = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            lead(cwd, confined)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these two; its children must not
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(command[0], command, os.environ)  # noqa: S606 - this is what a keeper is for
        except BaseException as error:  # noqa: BLE001 - a forked copy must never run on as the keeper
            os.write(tell, str(error).encode())
        os._exit(127)
    return pid, trouble_of(told, tell)


def lead(cwd: str, confined: Confined) -> None:
    """In the child: lead a session, be its owner's, hear all signals, stand in the working directory."""
    os.setsid()
    if confined is not None:
        confinement().enter(confined)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    os.chdir(cwd)


def trouble_of(told: int, tell: int) -> str:
    """In the keeper: what the child says on the pipe before it closes that; empty where it could start."""
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        return pipe.read().decode(errors="replace")


def wait(child: int, grace_s: float) -> tuple[int, bool]:
    """Wait for the child; when asked to end, pass that on, and end everything after the grace."""
    deadline: float | None = None
    while True:
        code = reap(child)
        if code is not None:
            return code, deadline is not None
        if deadline is None:
            signalled: Any = signal.sigwaitinfo(WATCHED)
        else:
            left = deadline - time.monotonic()
            if left <= 0:
                kill_children()
                left = 0.1
            signalled = signal.sigtimedwait(WATCHED, left)
        if signalled is not None and signalled.si_signo in ASKED:
            grace = float(read("stop.json").get("grace_s", grace_s))
            deadline = min(deadline or float("inf"), time.monotonic() + grace)
            try:
                os.killpg(child, signal.SIGTERM)
            except ProcessLookupError:
                continue


def reap(child: int) -> int | None:
    """Bury whatever has died; the child's exit code (a signal's number below zero) if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)


def end_all() -> None:
    """SIGKILL children until there are none. Orphans of the killed become children of this subreaper."""
    while True:
        kill_children()
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)


def kill_children() -> None:
    """SIGKILL every direct child. Only this process buries them, so their pids cannot be reused meanwhile."""
    me = str(os.getpid())
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            fields = stat(name)
            if fields and fields[1] == me:
                os.kill(int(name), signal.SIGKILL)


def stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; empty where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs as much as all of this
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from a later one with the same pid."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        boot_id = file.read().strip()
    fields = stat(pid)
    return {"pid": pid, "start_time": int(fields[19]) if fields else None, "boot_id": boot_id}


def reason(code: int, asked: bool, lacked_memory: bool = False) -> str:
    """One of `backends.base.Reason`."""
    if asked:
        return "stopped"
    if code and lacked_memory:
        return "out_of_memory"
    return "killed" if code < 0 else "failed" if code else "finished"


def record_start(child: int) -> None:
    """Where this fails (a full disk), the run goes on: it is found by its mark."""
    try:
        write("started.json", {**identity(child), "keeper": identity(os.getpid()), "at": time.time()})
    except OSError as error:
        say(f"Could not record the start: {error}")


def record_exit(code: int | None, why: str, detail: str | None) -> None:
    """The last thing a keeper does; it must survive a power cut.

    Where this fails (a full disk) it tries until it can, since nobody else knows the exit code; the run counts as
    running meanwhile. Only once it is asked to end, it tries one time more: who asked records the end.
    """
    record = {"code": code, "reason": why, "detail": detail, "at": time.time()}
    asked, told, pause = why == "stopped", False, 0.1
    while True:
        try:
            write("exit.json", record, durable=True)
        except FileNotFoundError:
            return  # the run folder was dropped: nobody will ask
        except OSError as error:
            if asked and told:
                return
            if not told:
                say(f"Could not record the end yet: {error}")
        else:
            return
        told = True
        asked = signal.sigtimedwait(ASKED, pause) is not None or asked
        pause = min(pause * 2, LONGEST_PAUSE_S)


def say(text: str) -> None:
    """A line in the run's log, which is stderr."""
    try:
        os.write(2, f"{text}\n".encode(errors="replace"))
    except OSError:
        return  # the log lies on the same disk as the records: what cannot be said there must not end a keeper


def read(name: str) -> dict[str, Any]:
    """A record of this run; empty if there is none."""
    try:
        with open(name) as file:  # noqa: PTH123
            return dict(json.load(file))
    except FileNotFoundError:
        return {}


def write(name: str, record: dict[str, Any], durable: bool = False) -> None:
    """Write a record so that readers see all of it or nothing."""
    temporary = f"{name}.{os.getpid()}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        left = json.dumps(record).encode()
        while left:  # the last room of a disk takes a part, and says so only when asked for more
            left = left[os.write(file, left) :]
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
    os.replace(temporary, name)  # noqa: PTH105
    if durable:
        folder = os.open(".", os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], execute))
