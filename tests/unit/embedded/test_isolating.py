"""What a run keeps of the machine's own /tmp, where each has one of its own."""

from __future__ import annotations

from pathlib import Path

from dure_hub.backends.embedded.isolating import Isolation
from dure_hub.backends.embedded.runner import Plan
from dure_hub.settings import Settings


def test_no_link_in_a_home_chooses_what_is_kept(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    home, secret = settings.folder.users / "ana", tmp_path / "secret"
    secret.mkdir()
    (tmp_path / "templates").mkdir()
    own = home / ".dure" / "python"
    (own / "bin").mkdir(parents=True)
    (own / "share").mkdir()
    (own / "share" / "jupyter").symlink_to(secret)
    (own / "bin" / "python").symlink_to(secret / "bin" / "python")
    environment = {
        "JUPYTER_PATH": f"{tmp_path / 'templates'}:{own / 'share' / 'jupyter'}",
        "PYTHONPATH": str(own / "share" / "jupyter"),
        "CUDA_MPS_PIPE_DIRECTORY": str(own / "share" / "jupyter"),
    }
    plan = Plan("lease", "ana", [str(own / "bin" / "python")], home, environment)
    kept = Isolation(settings)._kept(plan)
    assert str(secret) not in kept
    assert {str(tmp_path / "templates"), str(settings.folder.root)} <= set(kept)
