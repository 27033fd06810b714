"""Opening a study: settings, panel and features of a book as of a cut."""

from __future__ import annotations

from typing import Any

import dagster as dg
import msgspec
import numpy as np

from hedgefund_core.backtest.models_settings import ModelsSettings
from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.features import resolve
from hedgefund_core.risk.limits import Mandate, RiskSettings
from hedgefund_dagster.books import Book
from hedgefund_dagster.defs.features.stored import read_features
from hedgefund_dagster.defs.training.records import folder
from hedgefund_dagster.defs.training.study import Study, known_at_cut, study
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import Settings

Shown = dict[str, dg.MetadataValue[Any] | str | int | float]
"""Metadata of a materialization."""


class ResearchConfig(dg.Config):
    """What a research run is told. Nothing known after the cut is read."""

    cut: str = ""
    """Session (ISO date); empty: the last one of the panel."""
    mandate: str = ""
    """Of config/risk.yaml; empty: the book's own."""
    rule_only: bool = False
    """Research the published rule and no challenger: for a source too small to learn from."""


def mandate_of(settings: Settings, name: str) -> Mandate:
    """A mandate by name; raises ConfigError naming the known ones."""
    mandates = settings.load("risk", RiskSettings).mandates
    if name not in mandates:
        message = f"config/risk.yaml has no mandate {name!r}"
        raise ConfigError(message, mend=f"choose one of {', '.join(sorted(mandates))}")
    return mandates[name]


def open_study(lake: Lake, settings: Settings, book: Book, config: ResearchConfig) -> Study:
    """The study of a book at the configured cut."""
    whole = lake.read_panel(book.source)
    panel = known_at_cut(whole, config.cut)
    features = read_features(lake, whole)
    models = settings.load("models", ModelsSettings)
    if config.rule_only:
        models = msgspec.structs.replace(models, challengers={})
    wanted = [name for name in features.names if not models.features or name in models.features]
    missing = sorted(set(models.features) - set(features.names))
    if missing:
        message = f"config/models.yaml asks for features {', '.join(missing)} that {book.source} does not give"
        raise ConfigError(message, mend=f"choose among {', '.join(features.names)}, or leave features empty for all")
    columns = [features.names.index(name) for name in wanted]
    values = np.ascontiguousarray(features.values[: panel.shape[0]][:, :, columns])
    mandate = mandate_of(settings, config.mandate or book.mandate)
    return study(panel, values, tuple(resolve(wanted)), mandate, models, settings.research_start(book.source))


def place_of(book: Book, config: ResearchConfig, cut: str) -> str:
    """Folder of a run's records."""
    return folder(book.name, config.mandate or book.mandate, cut)
