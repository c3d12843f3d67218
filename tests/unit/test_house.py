"""The house keeps its own rules. `python -m tests.unit.test_house` writes docs/settings.md anew."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dure_hub.settings import Image, Settings
from dure_hub.settings.shared import SharedFolder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
OF_UP = ("data", "instance")
"""Fields that are not typed by people in dure.yaml: the folder itself, and what `up` makes."""

HEAD = """# Settings

Each setting is `<name>` in `dure.yaml` of the data folder, and `DURE_<NAME>` in the environment of `dure up`.
Its flags go before the environment, the environment before the file, the file before the default. `up` settles
them once and writes the outcome to `run/settings.json`; a change takes effect at the next `up`. Only
`profiles.yaml` goes before all of these, at once: lifetimes of its profiles, and what its `devices` name
([more](organisation.md)).

The data folder itself is `DURE_DATA` (default `~/.dure`). Lists are written as YAML in the file and as JSON in the
environment.

| setting | default | type | what it is |
|---|---|---|---|
"""


def page() -> str:
    """The settings page as the code says it."""
    rows = [row(name, field) for name, field in Settings.model_fields.items() if name not in OF_UP]
    return HEAD + "\n".join(rows) + "\n"


def row(name: str, field: FieldInfo) -> str:
    value = field.default
    shown = "none" if value is None or value == [] or value == "" else str(value)
    return f"| `{name}` | {'' if shown == 'none' else f'`{shown}`'} | {kind(field)} | {field.description} |"


def kind(field: FieldInfo) -> str:
    """The type with its bounds, in words."""
    annotation: typing.Any = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    inner = [one for one in typing.get_args(annotation) if one is not type(None)] or [annotation]
    names = {
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        bool: "yes or no",
        Image: "image",
        SharedFolder: "folder",
    }
    word = names[inner[0]]
    if typing.get_origin(annotation) is list:
        word = f"list of {word}s"
    bounds: list[str] = []
    for rule in field.metadata:
        for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            if hasattr(rule, attribute):
                bounds.append(f"{sign} {getattr(rule, attribute)}")
    return ", ".join([word, *bounds])


def test_every_setting_is_documented() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.unit.test_house`"


def test_every_setting_has_a_sentence_that_ends() -> None:
    for name, field in Settings.model_fields.items():
        assert re.fullmatch(r"[A-Z`].*\.", field.description or ""), name


def test_the_sdk_alone_needs_httpx_and_pydantic() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [re.match(r"[a-z-]+", need)[0] for need in project["dependencies"]] == ["httpx", "pydantic"]  # type: ignore[index]


def test_the_lock_names_versions_and_no_place() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(lines) > 100
    for line in lines:
        assert re.match(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,_-]+\])?==[^\s;]+( ; .*)?$", line), line
        assert "://" not in line


IMPORTS = {
    "a backend named outside of app": (
        "hub/dure_hub/operations/planted.py",
        "import dure_hub.backends.embedded.servers",
    ),
    "an import upwards": ("hub/dure_hub/store/planted.py", "import dure_hub.operations.people"),
    "a policy that asks a database": ("hub/dure_hub/policies/planted.py", "import sqlalchemy"),
    "an SDK that needs the hub": ("extensions/dure/planted.py", "import dure_hub.settings"),
    "a hub that uses the SDK": ("hub/dure_hub/services/planted.py", "import dure.client"),
    "a backend that decides": (
        "hub/dure_hub/backends/embedded/planted.py",
        "import dure_hub.operations.admission",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two packages and the rules, where a wrong import may be planted."""
    target = tmp_path_factory.mktemp("house")
    for part in ("hub", "extensions"):
        shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def layers(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on this copy, whatever is installed."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {"PYTHONPATH": f"{folder / 'hub'}:{folder / 'extensions'}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_rooms_keep_their_doors(copy: Path) -> None:
    outcome = layers(copy)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "6 kept, 0 broken" in outcome.stdout


@pytest.mark.parametrize("what", IMPORTS)
def test_a_wrong_import_is_found(copy: Path, what: str) -> None:
    name, line = IMPORTS[what]
    planted = copy / name
    planted.write_text(f"{line}\n")
    try:
        outcome = layers(copy)
    finally:
        planted.unlink()
    assert outcome.returncode != 0
    assert "planted" in outcome.stdout, outcome.stdout + outcome.stderr


def test_the_hub_process_loads_nothing_heavy() -> None:
    code = "import dure_hub.app, sys, json; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(out))
    assert loaded.isdisjoint({"torch", "mlflow", "fastapi", "uvicorn", "alembic", "numpy", "jupyterhub"})


def test_the_first_pages_are_whole_and_their_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text()
        assert "@@" not in text, page
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_capability_table_says_what_the_backends_say() -> None:
    done = subprocess.run([sys.executable, "tools/capabilities.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run `python tools/capabilities.py`"


def test_settings_are_one_flat_model() -> None:
    """Nested models would have no single variable to set them by."""
    for field in Settings.model_fields.values():
        annotation = field.annotation
        assert not (isinstance(annotation, type) and issubclass(annotation, BaseModel))


if __name__ == "__main__":
    PAGE.write_text(page())
