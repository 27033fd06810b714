"""How the trading process reads bars: one file, numpy only, checked against its manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.layout import panel_file, panel_manifest
from hedgefund_core.quant.bars import FIELDS, Panel
from hedgefund_core.quant.panel_codec import unpack_panel
from hedgefund_core.trading.instrument import Instrument

_MEND = "ingest the source: `make demo`, or materialize the group `validation` in Dagster"


def read_panel(data: Path, source: str) -> Panel:
    """The panel of a source.

    Raises
    ------
    DataUnavailable : there is none. DataInvalid : it is damaged, or not the one its manifest names.
    """
    path, manifest = data / panel_file(source), data / panel_manifest(source)
    if not path.exists():
        raise DataUnavailable(f"there is no panel of source {source!r} under {data}", mend=_MEND)
    panel = unpack_panel(path.read_bytes(), str(path))
    if manifest.exists():
        try:
            stated = str(json.loads(manifest.read_bytes())["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataInvalid(f"{manifest.name} of the panel of {source!r} cannot be read: {error}", mend=_MEND) from error
        if stated != panel.data_version:
            raise DataInvalid(f"the panel of {source!r} is not the file its manifest names", mend=_MEND)
    return panel


def instruments_of(panel: Panel) -> tuple[Instrument, ...]:
    """The instruments of a panel's columns, in their order; a source without ids of its own names them by symbol."""
    return tuple(Instrument(instrument_id=symbol, symbol=symbol, currency=panel.currency) for symbol in panel.symbols)


class NewestPanel:
    """The panel as the lake has it now. It is read again only when its file has changed, so that asking often costs nothing."""

    def __init__(self, data: Path, source: str) -> None:
        self._data, self._source = data, source
        self._stamp: tuple[int, int] | None = None
        self._panel: Panel | None = None

    def __call__(self) -> Panel:
        """The panel; raises DataUnavailable or DataInvalid as `read_panel`, also while it is being replaced."""
        try:
            found = (self._data / panel_file(self._source)).stat()
        except FileNotFoundError:
            return read_panel(self._data, self._source)  # says what is missing
        stamp = (found.st_mtime_ns, found.st_size)
        if self._panel is None or stamp != self._stamp:
            self._panel, self._stamp = read_panel(self._data, self._source), stamp
        return self._panel


def aligned(panel: Panel, symbols: Sequence[str]) -> Panel:
    """The panel's columns in the order of ``symbols``; an instrument that the source does not have is a column without bars."""
    if tuple(symbols) == panel.symbols:
        return panel
    place = {symbol: column for column, symbol in enumerate(panel.symbols)}
    columns = [place.get(symbol, 0) for symbol in symbols]
    there = [symbol in place for symbol in symbols]
    changes: dict[str, Any] = {"symbols": tuple(symbols)}  # replace() takes fields of every type
    for name in (*FIELDS, "dividends", "split_ratios"):
        values = getattr(panel, name)
        changes[name] = None if values is None else np.where(there, values[:, columns], np.nan)
    return replace(panel, **changes)


def only(panel: Panel, symbols: Sequence[str]) -> Panel:
    """The panel's columns of ``symbols`` in that order; raises DataInvalid for a symbol it does not have."""
    if tuple(symbols) == panel.symbols:
        return panel
    missing = sorted(set(symbols) - set(panel.symbols))
    if missing:
        raise DataInvalid(f"the panel of {panel.source!r} has no {', '.join(missing)}, which the account trades", mend=_MEND)
    columns = [panel.symbols.index(symbol) for symbol in symbols]
    changes: dict[str, Any] = {"symbols": tuple(symbols)}  # replace() takes fields of every type
    for name in (*FIELDS, "dividends", "split_ratios"):
        values = getattr(panel, name)
        changes[name] = None if values is None else values[:, columns]
    return replace(panel, **changes)
