"""Scheduled notebooks that leave links, pipes and folders where the portal looks: nobody else is held up."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from sqlalchemy import select

from dure_hub.backends.base import Handle
from dure_hub.operations import admission
from dure_hub.operations.executionfiles import ExecutionFolder
from dure_hub.settings import Settings
from dure_hub.store.models import Lease
from tests.support.notebooks import notebook
from tests.support.schedules import ANA, ask, over, run, states
from tests.support.schedules import data as data
from tests.support.schedules import shop as shop
from tests.support.workshop import Workshop

TRAPS = {
    "log is a folder": "os.mkdir('../log')",
    "log is a pipe": "os.mkfifo('../log')",
    "log is a link": "os.symlink(SECRET, '../log')",
    "log.new is a folder": "os.makedirs('../log.new/x')",
    "kept is a file": "open('../kept', 'w')",
    "kept is a link": "os.symlink(os.path.dirname(SECRET), '../kept')",
    "kept log is a folder": "os.makedirs('../kept/log/x')",
    "kept log is a pipe": "os.mkdir('../kept'); os.mkfifo('../kept/log')",
    "kept log.new is a folder": "os.makedirs('../kept/log.new/x')",
    "kept log is a link": "os.mkdir('../kept'); os.symlink(SECRET, '../kept/log')",
    "kept log is a forgery": "os.mkdir('../kept'); open('../kept/log', 'w').write('all went well')",
    "the token is a folder": "os.remove('../token'); os.makedirs('../token/x')",
    "home is a link": "os.rmdir('../home'); os.symlink(os.path.dirname(SECRET), '../home')",
    "the result is a pipe": "os.mkfifo('../outputs/result.json')",
    "the outputs are a file": "import shutil; shutil.rmtree('../outputs'); open('../outputs', 'w')",
    "the code is a link": "os.rename('../code', '../was'); os.symlink(os.path.dirname(SECRET), '../code')",
}

LOGS = {
    "a pipe": "os.mkfifo(log)",
    "a folder": "os.mkdir(log)",
    "a link": "os.symlink(SECRET, log)",
    "a socket": "import socket; os.chdir(os.path.dirname(log)); socket.socket(socket.AF_UNIX).bind('log')",
}


async def all_over(shop: Workshop) -> bool:
    """Whether no lease is left, nothing is listed any more, and all is tidied up."""
    with shop.store.reading() as session:
        active = session.scalars(select(Lease.id).where(Lease.ended_at.is_(None))).all()
    return not active and not await shop.executions.seen() and not shop.schedules.subject._untidy


@pytest.mark.parametrize("trap", TRAPS.values(), ids=[name.replace(" ", "-") for name in TRAPS])
async def test_whatever_a_notebook_leaves_beside_itself_it_ends_and_so_does_every_other(
    shop: Workshop, data: Settings, tmp_path: Path, trap: str
) -> None:
    secret = tmp_path / "elsewhere" / "log"
    secret.parent.mkdir()
    secret.write_text("the secret")
    code = f"import os\nprint('hello', flush=True)\nSECRET = {str(secret)!r}\n{trap}\nos._exit(3)"
    digest = await shop.upload({"trap.ipynb": notebook(code), "work.ipynb": notebook("x = 1")})
    await shop.schedules.create(ANA, await ask(shop, "trap.ipynb", snapshot=digest))
    await shop.schedules.create(ANA, await ask(shop, "work.ipynb", name="other", snapshot=digest))
    execution = await run(shop)
    await run(shop, name="other")
    assert (await over(shop, name="other")).state == "succeeded"
    ended = await over(shop)
    assert (ended.state, ended.reason) == ("failed", "Ended with exit code 3. hello")
    await shop.until(lambda: all_over(shop), "all is tidied up")
    page = await shop.schedules.logs(ANA, "nightly", 1)
    assert (page.text, page.done) == ("hello\n", True)
    assert secret.read_text() == "the secret"
    assert sorted(path.name for path in secret.parent.iterdir()) == ["log"]
    folder = ExecutionFolder(data, execution.id)
    assert stat.S_ISREG(folder.log.lstat().st_mode)
    assert not any(place.is_symlink() or place.exists() for place in (folder.token, folder.code, folder.home))


@pytest.mark.parametrize("trap", LOGS.values(), ids=[name.replace(" ", "-") for name in LOGS])
async def test_a_log_that_became_something_else_while_it_ran_is_an_empty_one(
    shop: Workshop, tmp_path: Path, trap: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    find = (
        "import os\nlog = os.path.join(os.path.dirname(os.environ['DURE_EXECUTION_FILE']), 'log')\nos.remove(log)"
    )
    code = f"{find}\nSECRET = {str(secret)!r}\n{trap}\nos._exit(3)"
    digest = await shop.upload({"trap.ipynb": notebook(code), "work.ipynb": notebook("x = 1")})
    await shop.schedules.create(ANA, await ask(shop, "trap.ipynb", snapshot=digest))
    await shop.schedules.create(ANA, await ask(shop, "work.ipynb", name="other", snapshot=digest))
    await run(shop)
    await run(shop, name="other")
    assert (await over(shop)).reason == "Ended with exit code 3."
    assert (await over(shop, name="other")).state == "succeeded"
    await shop.until(lambda: all_over(shop), "all is tidied up")
    page = await shop.schedules.logs(ANA, "nightly", 1)
    assert (page.text, page.done) == ("", True)


async def test_a_log_that_cannot_be_kept_holds_up_neither_its_end_nor_the_others(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.schedules.create(ANA, await ask(shop, "fail.ipynb"))
    first, second = await run(shop), await run(shop)
    keep = shop.executions.keep_log

    async def full(handle: Handle, target: Path) -> None:
        if first.id in str(target):
            raise OSError("no space left on device")
        await keep(handle, target)

    with monkeypatch.context() as patch:
        patch.setattr(shop.executions, "keep_log", full)
        assert [(await over(shop, number)).state for number in (1, 2)] == ["failed", "failed"]

        async def forgotten() -> bool:
            return [seen.handle.lease for seen in await shop.executions.seen()] == [await lease(shop, first.id)]

        await shop.until(forgotten, "the other one is forgotten")
        assert (await shop.schedules.logs(ANA, "nightly", 2)).done
    await shop.until(lambda: all_over(shop), "the first one too, once there is room")
    assert second.number == 2


async def lease(shop: Workshop, execution: str) -> str:
    """The lease it runs under."""
    return await shop.store.read(lambda s: s.scalars(select(Lease.id).where(Lease.subject == execution)).one())


async def test_one_that_cannot_be_closed_keeps_no_other_from_its_end(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    first, _ = await run(shop), await run(shop)
    subject, close = shop.schedules.subject, shop.schedules.subject.ended

    def stubborn(session: object, lease: Lease, seen: object) -> None:
        close(session, lease, seen)  # type: ignore[arg-type]
        if lease.subject == first.id:
            raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(subject, "ended", stubborn)
        await over(shop, 2)
        assert await states(shop) == [(1, "running"), (2, "succeeded")]
    assert (await over(shop, 1)).state == "succeeded"


@pytest.mark.parametrize("before", [True, False], ids=["before-its-token", "after-it"])
async def test_what_was_laid_out_for_a_lease_that_ended_meanwhile_is_removed(
    shop: Workshop, data: Settings, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    await shop.schedules.create(ANA, await ask(shop))
    folder = ExecutionFolder(data, (await run(shop)).id)
    item = (await shop.store.read(shop.schedules.subject._open))[0]
    await shop.schedules.stop(ANA, "nightly", 1)
    await over(shop)
    await shop.until(lambda: all_over(shop), "it is tidied up")

    async def made(*_: object) -> None:
        """It has its token, since the lease was active then."""

    if not before:
        monkeypatch.setattr(shop.schedules.subject, "_give_token", made)
    await shop.schedules.subject._start(item)  # as if it had been preparing all the while
    assert folder.code.exists()
    await shop.until(lambda: all_over(shop), "it is tidied up again")
    assert not any(place.exists() for place in (folder.code, folder.token, folder.home))
    with shop.store.reading() as session:
        assert session.get_one(Lease, item.lease.id).purpose == admission.SCHEDULE
