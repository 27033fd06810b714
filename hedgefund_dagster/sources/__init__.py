"""Data sources: one file and one line each. Loaded lazily: naming the sources costs nothing.

SOURCES bring prices the research chain runs on, each in one fetch; VENDORS are asked over the network for any data set
(``sources/http``). SERVED is the research chain's source of what vendors serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hedgefund_core.errors import ConfigError

if TYPE_CHECKING:
    from hedgefund_core.configuration import SourcesSettings, VendorSettings
    from hedgefund_dagster.sources.http.declaration import Vendor
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


def _served(settings: SourcesSettings) -> Source:
    from hedgefund_dagster.sources.served import Served

    return Served(settings)


SERVED: Mapping[str, Callable[[SourcesSettings], Source]] = {"served": _served}


def open_source(name: str, settings: SourcesSettings) -> Source:
    """The source of that name; raises ConfigError naming the known ones."""
    known = {**SOURCES, **SERVED}
    if name not in known:
        message = f"unknown source {name!r}; known: {', '.join(known)}"
        raise ConfigError(message, mend="set `source` in config/universe.yaml")
    return known[name](settings)


def _cboe_vix(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.cboe_vix import CboeVix

    return CboeVix(settings)


def _us_treasury(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.us_treasury import UsTreasury

    return UsTreasury(settings)


def _fred(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.fred import Fred

    return Fred(settings)


def _sec_edgar(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.sec_edgar import SecEdgar

    return SecEdgar(settings)


def _gdelt(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.gdelt import Gdelt

    return Gdelt(settings)


def _tiingo(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.tiingo import Tiingo

    return Tiingo(settings)


def _yahoo(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.yahoo import Yahoo

    return Yahoo(settings)


def _massive(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.massive import Massive

    return Massive(settings)


def _alpha_vantage(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.alpha_vantage import AlphaVantage

    return AlphaVantage(settings)


def _alpaca(settings: VendorSettings) -> Vendor:
    from hedgefund_dagster.sources.alpaca import Alpaca

    return Alpaca(settings)


VENDORS: Mapping[str, Callable[[VendorSettings], Vendor]] = {
    "cboe_vix": _cboe_vix,
    "us_treasury": _us_treasury,
    "fred": _fred,
    "sec_edgar": _sec_edgar,
    "gdelt": _gdelt,
    "alpaca": _alpaca,
    "yahoo": _yahoo,
    "tiingo": _tiingo,
    "massive": _massive,
    "alpha_vantage": _alpha_vantage,
}


def open_vendor(name: str, settings: SourcesSettings) -> Vendor:
    """The vendor of that name; raises ConfigError naming the known ones, also for a misspelt name in the configuration."""
    from hedgefund_core.configuration import VendorSettings

    unknown = [known for known in (name, *settings.vendors) if known not in VENDORS]
    if unknown:
        message = f"unknown vendor {unknown[0]!r}; known: {', '.join(VENDORS)}"
        raise ConfigError(message, mend="correct the keys below `vendors` in config/sources.yaml")
    return VENDORS[name](settings.vendors.get(name) or VendorSettings())
