"""Where the values come from: defaults < `DURE_DATA/dure.yaml` < `DURE_*` variables < flags of `dure up`.

`up` resolves them once into `run/settings.json`; every other process reads that file, so all of them see the same
values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dure_hub.settings.addresses import DEFAULT_DATA
from dure_hub.settings.folder import DataFolder
from dure_hub.settings.knobs import Settings


def load_settings(data: Path | str) -> Settings:
    """The settings that `up` resolved for this data folder; variables and flags are not looked at again."""
    return Settings.model_validate(_read_json(DataFolder(Path(data).expanduser().resolve()).resolved))


def resolve_settings(**flags: Any) -> Settings:
    """Resolve flags, environment, dure.yaml and defaults, in this order. Only `up` and its kin call it."""
    return Settings.model_validate(_Sources(**flags).model_dump())


class _Sources(Settings, BaseSettings):
    model_config = SettingsConfigDict(env_prefix="DURE_", extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags come as arguments, then the environment, then dure.yaml of the folder those two name."""
        data = init_settings().get("data") or os.environ.get("DURE_DATA") or DEFAULT_DATA
        return init_settings, env_settings, _YamlSource(settings_cls, Path(data).expanduser() / "dure.yaml")


def _read_json(path: Path) -> Mapping[str, Any]:
    loaded = yaml.safe_load(path.read_text())  # JSON is YAML; one reader for both
    return loaded if isinstance(loaded, Mapping) else {}


class _YamlSource(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self.path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(_read_json(self.path)) if self.path.exists() else {}
