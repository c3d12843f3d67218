"""What a run may only read, with disks of the host that come while it runs. Needs root."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dure_hub.isolation import ground

HOST = """
import json, os, sys
from pathlib import Path
from dure_hub.isolation import confine

SHARED = 1 << 20
folder, other = Path(sys.argv[1]), Path(sys.argv[2])
confine.call("unshare", confine.CLONE_NEWNS)
confine.mount(None, "/", confine.MS_REC | confine.MS_SLAVE)
for place in (folder, other):
    confine.mount("tmpfs", str(place), 0, "tmpfs")
    confine.mount(None, str(place), SHARED)
    for name in ("before", "later"):
        (place / name).mkdir()
confine.mount("tmpfs", str(folder / "before"), 0, "tmpfs")
(folder / "over" / "under").mkdir(parents=True)
confine.mount("tmpfs", str(folder / "over" / "under"), 0, "tmpfs")
confine.mount("tmpfs", str(folder / "over"), 0, "tmpfs")  # the one below has a line still, and no way to it
(ready, said), (asked, go) = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    confine.call("unshare", confine.CLONE_NEWNS)
    confine.mount(None, "/", confine.MS_REC | confine.MS_SLAVE)
    confine.read_only(str(folder))
    os.write(said, b"!")
    os.read(asked, 1)
    came = {}
    for place in (folder, folder / "before", folder / "over", folder / "later", other / "later"):
        try:
            (place / "new").write_text("mine")
            came[f"{place.parent.name}/{place.name}"] = "done"
        except OSError as error:
            came[f"{place.parent.name}/{place.name}"] = error.strerror
    print(json.dumps(came), flush=True)
    os._exit(0)
os.close(said)
assert os.read(ready, 1)
for place in (folder, other):
    confine.mount("tmpfs", str(place / "later"), 0, "tmpfs")
os.write(go, b"!")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_disk_that_comes_later_into_what_is_read_is_not_written_on(tmp_path: Path) -> None:
    if not ground.own_tmp():
        pytest.skip("This kernel lets no process have mounts of its own.")
    for name in ("read", "other"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(tmp_path / "read"), str(tmp_path / "other")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    refused = "Read-only file system"
    assert json.loads(done.stdout) == {
        f"{tmp_path.name}/read": refused,
        "read/before": refused,
        "read/over": refused,
        "read/later": refused,
        "other/later": "done",
    }
