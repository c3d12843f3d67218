"""What `import dure` loads, seen from a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import dure

LOADED = """import json, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))"""


def loaded(code: str) -> set[str]:
    """Modules from outside the standard library that this code loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)], capture_output=True, text=True, check=True
    )
    return {name for name in json.loads(done.stdout) if name.split(".")[0] not in sys.stdlib_module_names}


def test_import_dure_loads_nothing_but_itself() -> None:
    assert loaded("import dure") == {"dure"}


def test_first_use_loads_httpx_and_pydantic_and_no_torch_or_mlflow() -> None:
    tops = {name.split(".")[0] for name in loaded("import dure; dure.train; dure.endpoints.deploy; dure.wire.Job")}
    assert {"dure", "httpx", "pydantic"} <= tops
    assert not tops & {"torch", "numpy", "mlflow", "sklearn", "pandas", "fastapi"}


def test_the_model_server_needs_no_mlflow() -> None:
    tops = {name.split(".")[0] for name in loaded("import dure.server")}
    assert not tops & {"mlflow", "httpx", "fastapi", "torch"}


def test_every_public_name_is_there_and_no_module_hides_a_function() -> None:
    for name in dure.__all__:
        assert getattr(dure, name) is not None
    for function in ("train", "job", "jobs", "profiles", "plan", "whoami", "fleet", "events", "context"):
        assert callable(getattr(dure, function))
        subprocess.run(
            [sys.executable, "-c", f"import importlib.util as u; assert not u.find_spec('dure.{function}')"],
            check=True,
        )
