"""Data sources: one file and one line each. Loaded lazily: naming the sources costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hedgefund_core.errors import ConfigError

if TYPE_CHECKING:
    from hedgefund_core.configuration import SourcesSettings
    from hedgefund_dagster.sources.source import Source


def _bundled_sp500(_: SourcesSettings) -> Source:
    from hedgefund_dagster.sources.bundled_sp500 import BundledSp500

    return BundledSp500()


def _bundled_ohlcv(_: SourcesSettings) -> Source:
    from hedgefund_dagster.sources.bundled_ohlcv import BundledOhlcv

    return BundledOhlcv()


def _bundled_indices(_: SourcesSettings) -> Source:
    from hedgefund_dagster.sources.bundled_indices import BundledIndices

    return BundledIndices()


def _files(settings: SourcesSettings) -> Source:
    from hedgefund_dagster.sources.files import Files

    return Files(settings.files)


SOURCES: Mapping[str, Callable[[SourcesSettings], Source]] = {
    "bundled_sp500": _bundled_sp500,
    "bundled_ohlcv": _bundled_ohlcv,
    "bundled_indices": _bundled_indices,
    "files": _files,
}


def open_source(name: str, settings: SourcesSettings) -> Source:
    """The source of that name; raises ConfigError naming the known ones."""
    if name not in SOURCES:
        message = f"unknown source {name!r}; known: {', '.join(SOURCES)}"
        raise ConfigError(message, mend="set `source` in config/universe.yaml")
    return SOURCES[name](settings)
