"""The configuration as the executor sees it: values, origins, validity of every file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from hedgefund_core.backtest.models_settings import ModelsSettings
from hedgefund_core.configuration import SourcesSettings, UniverseSettings, resolve
from hedgefund_core.errors import ConfigError
from hedgefund_core.risk.limits import RiskSettings
from live_executor.settings import Settings, TradingSettings, read_settings

FILES: dict[str, type[msgspec.Struct]] = {
    "trading": TradingSettings,
    "universe": UniverseSettings,
    "risk": RiskSettings,
    "models": ModelsSettings,
    "sources": SourcesSettings,
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One value."""

    file: str
    key: str
    value: str
    origin: str


def every_setting(settings: Settings) -> list[Setting]:
    """Every value the executor uses, with the file or variable that it comes from."""
    mandate = settings.trading.mandate
    trees = {
        "trading": msgspec.to_builtins(settings.trading),
        "universe": msgspec.to_builtins(settings.universe),
        "risk": {"mandates": {mandate: msgspec.to_builtins(settings.mandate)}},
    }
    rows = [
        Setting(file=file, key=key, value=value, origin=settings.origins[file].get(key, f"config/{file}.yaml"))
        for file, tree in trees.items()
        for key, value in _leaves(tree, "")
    ]
    places = {"HEDGEFUND_DATA_DIR": settings.data, "HEDGEFUND_CONFIG_DIR": settings.config}
    return rows + [
        Setting(file="environment", key=name, value=str(path), origin="environment" if name in os.environ else "default")
        for name, path in places.items()
    ]


def _leaves(tree: Mapping[str, object], above: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value if isinstance(value, str) else msgspec.json.encode(value).decode()))
    return found


def validate() -> list[str]:
    """Names of the valid files; raises ConfigError at the first that is not."""
    folder = read_settings().config
    for name in FILES:
        _check(folder / f"{name}.yaml", name)
    return [f"{name}.yaml" for name in FILES]


def _check(path: Path, name: str) -> None:
    if not path.exists():
        raise ConfigError(f"{path} is missing", mend="restore it from the repository, or set HEDGEFUND_CONFIG_DIR")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}", mend=f"correct {path}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings", mend="restore it from the repository")
    resolve(f"config/{name}.yaml", content, os.environ, FILES[name])
