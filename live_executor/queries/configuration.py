"""The configuration as the executor sees it: values, origins, validity of every file."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from hedgefund_core.backtest.models_settings import ModelsSettings
from hedgefund_core.configuration import SourcesSettings, UniverseSettings
from hedgefund_core.risk.limits import RiskSettings
from live_executor.settings import Settings, TradingSettings, read_file, read_settings

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
        Setting(file=file, key=key, value=value, origin=settings.origins[file].get(key, str(settings.config / f"{file}.yaml")))
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
    for name, kind in FILES.items():
        read_file(folder, name, os.environ, kind)
    return [f"{name}.yaml" for name in FILES]
