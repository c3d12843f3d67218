"""Variables that begin as settings do: which of them somebody else reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dure_hub.settings import Settings
from dure_hub.settings.variables import OTHERS, unknown

ROOT = Path(__file__).parents[3]
READ = re.compile(r"\bDURE_[A-Z0-9_]*[A-Z0-9]\b")
PLACES = ("hub/**/*.py", "extensions/**/*.py", "tools/*.py", "tools/*.sh", "images/**/*", "Makefile")


def test_all_that_our_programs_read_are_known() -> None:
    found = {
        name
        for pattern in PLACES
        for file in ROOT.glob(pattern)
        if file.is_file()
        for name in READ.findall(file.read_text())
    }
    assert {"DURE_DATA", "DURE_SERVICE", "DURE_TORCH"} <= found, "else nothing was read"
    assert not unknown(found)


def test_no_setting_is_among_the_others() -> None:
    assert not OTHERS & {f"DURE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DURE_IDLE_TIMEOUT", "DURE_IDLE_TIMEOUT_S"),
        ("dure_idle_timeout", "DURE_IDLE_TIMEOUT_S"),
        ("DURE_KUBESPAWNERS", "DURE_KUBESPAWNER"),
        ("DURE_HUBB_PORT", "DURE_HUB_PORT"),
    ],
)
def test_what_looks_like_a_setting_and_is_none_is_named(name: str, nearest: str) -> None:
    assert unknown([name, "PATH", "DURE_DATA"]) == {name.upper(): nearest}


@pytest.mark.parametrize(
    "name",
    [
        *("DURE_TURN", "dure_turn", "DURE_SERVICE", "DURE_TEST_DATA", "DURE_BENCH_SEED", "PATH", "XDURE_TURN"),
        # of the Services dure-portal and dure-envoy
        *("DURE_ENVOY_SERVICE_HOST", "DURE_ENVOY_SERVICE_PORT", "DURE_ENVOY_SERVICE_PORT_HTTP", "DURE_ENVOY_PORT"),
        *("DURE_ENVOY_PORT_80_TCP", "DURE_ENVOY_PORT_80_TCP_ADDR", "DURE_PORTAL_PORT_8082_TCP_PROTO"),
    ],
)
def test_what_others_say_is_let_be(name: str) -> None:
    assert unknown([name]) == {}
