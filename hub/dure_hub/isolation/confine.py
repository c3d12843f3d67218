"""What a run's process does before it becomes its owner's: into its cgroups, into its own /tmp, out of root.

The keeper (backends/embedded/keeper.py) imports it, so it knows the standard library only, and little of that. A
plan is plain JSON: `uid`, `gid`, `groups`; `tmp`, the folder that is to be /tmp, or null; `kept`, folders below
/tmp that stay where they are; `read_only`, folders to read from alone; `cgroups`, each with its `folder`,
the `limits` to write there, by file, and what to write `above` first.

Run as a program it says by its exit code whether a process here can have a /tmp of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would be half of a keeper's start
    from collections.abc import Mapping, Sequence
    from typing import Any

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 32, 4096, 16384
MS_PRIVATE, MS_SLAVE = 1 << 18, 1 << 19
AS_THEY_ARE = {
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": 8,
    "noatime": 1024,
    "nodiratime": 2048,
    "relatime": 1 << 21,
}
"""What a mount keeps when it becomes one to read from."""
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
TMP, SHARED_MEMORY = "/tmp", "/dev/shm"  # noqa: S108 - what others call so is what is taken away
PATIENCE_S = 2.0


def prepare(plan: Mapping[str, Any]) -> None:
    """In the keeper: make the cgroups, with their limits. Raises `OSError`."""
    for group in plan["cgroups"]:
        for tries_left in (2, 1, 0):
            try:
                make(group)
                break
            except FileNotFoundError:  # the end of another run has just removed the folder above
                if not tries_left:
                    raise


def make(group: Mapping[str, Any]) -> None:
    """One cgroup: the one above, with what it says of those below, then its own limits. Raises `OSError`."""
    above = os.path.dirname(group["folder"])  # noqa: PTH120
    for folder, values in ((above, group["above"]), (group["folder"], group["limits"])):
        os.makedirs(folder, 0o755, exist_ok=True)  # noqa: PTH103
        for name, value in values.items():
            write(os.path.join(folder, name), value)  # noqa: PTH118


def enter(plan: Mapping[str, Any]) -> None:
    """In the child, which is root and has one thread: be the owner's, for good. It must end where this raises.

    Cgroups first, so that nothing it starts is outside of them; the user last, since the rest needs root.
    """
    for group in plan["cgroups"]:
        write(os.path.join(group["folder"], "cgroup.procs"), "0")  # noqa: PTH118
    if plan["tmp"] is not None:
        own_tmp(plan["tmp"], plan["kept"])
        for folder in plan.get("read_only", ()):
            read_only(folder)
    for number in (1, 2):  # its log, which programs open again as /dev/stderr
        if stat.S_ISREG(os.fstat(number).st_mode):
            os.fchown(number, plan["uid"], plan["gid"])
    os.umask(0o077)
    os.setgroups(plan["groups"])
    os.setresgid(plan["gid"], plan["gid"], plan["gid"])
    os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    control(PR_SET_NO_NEW_PRIVS, 1)
    control(PR_SET_DUMPABLE, 1)  # forked and not executed, it could not see its own /proc otherwise
    if 0 in (*os.getresuid(), *os.getresgid(), *os.getgroups()):
        raise PermissionError("it is root still")


def own_tmp(folder: str, kept: Sequence[str]) -> None:
    """See this folder as /tmp, and an empty /dev/shm; nobody else sees either. Raises `OSError`.

    What lies below the old /tmp and is needed stays at its place.
    """
    call("unshare", CLONE_NEWNS)
    # only now: what was opened in another namespace cannot be mounted in this one
    source = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    places = [(os.open(path, os.O_PATH | os.O_DIRECTORY), path) for path in kept]
    mount(None, "/", MS_REC | MS_SLAVE)  # what the machine mounts later is seen, and nothing goes the other way
    mount(f"/proc/self/fd/{source}", TMP, MS_BIND)
    for descriptor, path in places:
        missing(path)
        mount(f"/proc/self/fd/{descriptor}", path, MS_BIND | MS_REC)
    if os.path.isdir(SHARED_MEMORY):  # noqa: PTH112
        mount("tmpfs", SHARED_MEMORY, MS_NOSUID | MS_NODEV, "tmpfs", "mode=1777")
    for descriptor in (source, *(one for one, _ in places)):
        os.close(descriptor)


def read_only(folder: str) -> None:
    """Let nothing be written there, nor in what is mounted below; in this namespace alone. Raises `OSError`.

    One that is not there is left out: a disk that is away keeps nobody from working. What is mounted below
    later is not seen.
    """
    folder = os.path.realpath(folder)
    if not os.path.isdir(folder):  # noqa: PTH112
        return
    mount(folder, folder, MS_BIND | MS_REC)
    mount(None, folder, MS_REC | MS_PRIVATE)  # a disk that comes there later would be one to write on
    for line in lines("/proc/self/mountinfo"):
        words = line.split()
        place = words[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        if place == folder or place.startswith(f"{folder}/"):
            flags = sum(AS_THEY_ARE.get(word, 0) for word in words[5].split(","))
            try:
                mount(None, place, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
            except OSError as error:
                # under another mount, nobody can write there; the one on top has a line of its own
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                    raise


def missing(path: str) -> None:
    """Make the folders on which something is mounted. All may pass through them, and none may list them."""
    done = TMP
    for part in os.path.relpath(path, TMP).split(os.sep):  # noqa: PTH206
        done = f"{done}/{part}"
        if not os.path.lexists(done):
            os.mkdir(done)  # noqa: PTH102
            os.chmod(done, 0o711)  # noqa: PTH101, S103


def out_of_memory(plan: Mapping[str, Any]) -> bool:
    """Whether the kernel has killed something in there for want of memory."""
    for group in plan["cgroups"]:
        for name in ("memory.events", "memory.oom_control"):
            for line in lines(os.path.join(group["folder"], name)):  # noqa: PTH118
                word, _, count = line.partition(" ")
                if word == "oom_kill" and count.strip() not in ("", "0"):
                    return True
    return False


def clear(plan: Mapping[str, Any]) -> None:
    """Remove the cgroups, whose processes have ended; one that is busy still is left to whoever looks next."""
    deadline = time.monotonic() + PATIENCE_S
    for group in plan["cgroups"]:
        while os.path.isdir(group["folder"]):  # noqa: PTH112
            try:
                os.rmdir(group["folder"])  # noqa: PTH106
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
        try:
            os.rmdir(os.path.dirname(group["folder"]))  # noqa: PTH106, PTH120
        except OSError:
            continue  # other leases have groups there


def mount(source: str | None, target: str, flags: int, kind: str | None = None, data: str | None = None) -> None:
    """mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    call("mount", words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])


def control(option: int, value: int) -> None:
    """prctl(2)."""
    call("prctl", *map(ctypes.c_ulong, (option, value, 0, 0, 0)))


def call(name: str, *arguments: Any) -> None:
    """A function of the C library that says by -1 and errno that it failed."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def write(path: str, text: str) -> None:
    """A file of the kernel's takes a value in one piece, or refuses it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def lines(path: str) -> list[str]:
    """The lines of a file of the kernel's; none where there is no such file."""
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read().splitlines()
    except OSError:
        return []


def main(folder: str) -> int:
    """0 where a process can have this folder as its /tmp."""
    try:
        own_tmp(folder, [])
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
