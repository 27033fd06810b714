"""Between long rows (the quarantine's way) and the panel the detectors read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bar_rules import BarColumns, Finding, check_rows
from hedgefund_core.quant.bars import Floats, Panel, PriceKind
from hedgefund_core.quant.defects import CLOSE_DETECTORS, DETECTORS, find_defects
from hedgefund_core.quant.defects.grid import Flags, Rows
from hedgefund_core.quant.panel_build import LongActions, action_grids

NEEDED = ("open", "high", "low", "close", "volume")
SOME_ROWS = 2
"""A single row has no neighbours to compare with."""


def check_bars(bars: BarColumns, price_kind: PriceKind = PriceKind.SPLIT_ADJUSTED, *, actions: LongActions | None = None) -> list[Finding]:
    """The row rules and the detectors (all of them where there are open, high, low, close and volume): one list, in row order.

    Parameters
    ----------
    bars : rows sorted by (symbol, session, source_row).
    price_kind : what the prices are; a stated split explains a jump of raw prices only.
    actions : stated splits and dividends, where the source has them.
    """
    return sorted([*check_rows(bars), *defect_rows(bars, price_kind, actions)], key=lambda f: (f.row, f.rule))


def defect_rows(bars: BarColumns, price_kind: PriceKind, actions: LongActions | None = None) -> list[Finding]:
    """Findings of the detectors on rows (sorted by symbol, session); rows no panel can hold are left to the row rules."""
    complete = all(name in bars.fields and np.isfinite(bars.fields[name]).any() for name in NEEDED)
    rows = np.flatnonzero(usable_rows(bars))
    if len(rows) < SOME_ROWS:
        return []
    panel, place = _pivot(bars.symbol, bars.session, bars.fields, rows, price_kind=price_kind, tick=bars.tick)
    if actions is not None:
        dividends, splits = action_grids(actions, panel.sessions, np.array(panel.symbols))
        panel = replace(panel, dividends=dividends, split_ratios=splits)
    found = []
    for item in find_defects(panel, detectors=DETECTORS if complete else CLOSE_DETECTORS):
        if item.rule == "missing_session" and place[item.row - 1, item.column] >= 0:
            continue  # a row stands there, and its own finding says what is wrong with it
        row, known = int(place[item.row, item.column]), int(place[item.known_row, item.column])
        value = float(panel.close[item.row, item.column])
        severity, evidence = str(item.severity), item.evidence
        found.append(
            Finding(
                row=row, known_row=max(known, row), rule=item.rule, severity=severity, reason=item.reason, value=value, evidence=evidence
            )
        )
    return found


def usable_rows(bars: BarColumns) -> Flags:
    """Rows a panel can hold: the first of each (symbol, session), of a session that is one and has been."""
    return np.asarray(_first_of_key(bars) & bars.is_session & (bars.session <= bars.today))


def _first_of_key(bars: BarColumns) -> Flags:
    """The first row of each (symbol, session); the rule ``duplicate`` speaks of the others."""
    first = np.ones(len(bars.session), dtype=bool)
    first[1:] = (bars.symbol[1:] != bars.symbol[:-1]) | (bars.session[1:] != bars.session[:-1])
    return first


def panel_of_rows(
    symbol: NDArray[np.str_],
    session: NDArray[np.datetime64],
    fields: Mapping[str, Floats],
    *,
    price_kind: PriceKind,
    tick: float | None,
) -> Panel:
    """The panel of long rows (each symbol and session at most once) with open, high, low, close and volume; NaN = no row."""
    return _pivot(symbol, session, fields, np.arange(len(session)), price_kind=price_kind, tick=tick)[0]


def _pivot(
    symbol: NDArray[np.str_],
    session: NDArray[np.datetime64],
    fields: Mapping[str, Floats],
    rows: Rows,
    *,
    price_kind: PriceKind,
    tick: float | None,
) -> tuple[Panel, Rows]:
    """The panel of the chosen rows, and the row number of each of its cells (-1 = none)."""
    sessions, at = np.unique(session[rows].astype("datetime64[D]"), return_inverse=True)
    symbols, column = np.unique(symbol[rows], return_inverse=True)
    place = np.full((len(sessions), len(symbols)), -1)
    place[at, column] = rows

    def spread(name: str) -> Floats | None:
        if name not in fields:
            return None
        values = np.where(np.isfinite(fields[name]), fields[name], np.nan)
        return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)

    close = spread("close")
    panel = Panel(
        sessions=sessions,
        symbols=tuple(str(name) for name in symbols),
        price_kind=price_kind,
        tick=tick,
        source="rows",
        close=np.full(place.shape, np.nan) if close is None else close,
        open=spread("open"),
        high=spread("high"),
        low=spread("low"),
        volume=spread("volume"),
    )
    return panel, place
