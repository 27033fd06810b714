"""From clean rows to a panel: long columns pivoted onto one session axis, absent values NaN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import FIELDS, Floats, KnownAtBasis, Panel, PriceKind

SPLIT, DIVIDEND = "split", "dividend"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongBars:
    """Clean rows, one a (symbol, session), column-wise; ``close_at`` and ``known_at`` are UTC."""

    symbol: NDArray[np.str_]
    session: NDArray[np.datetime64]
    close_at: NDArray[np.datetime64]
    known_at: NDArray[np.datetime64]
    fields: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongActions:
    """Corporate actions column-wise; ``kind`` is split or dividend."""

    symbol: NDArray[np.str_]
    session: NDArray[np.datetime64]
    kind: NDArray[np.str_]
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFacts:
    """What the rows do not say of themselves."""

    source: str
    price_kind: PriceKind
    currency: str
    tick: float | None
    sessions_per_year: float
    known_at_basis: KnownAtBasis = KnownAtBasis.ASSUMED


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkLevel:
    """Level of the benchmark on its own sessions."""

    name: str
    session: NDArray[np.datetime64]
    level: Floats


def build_panel(bars: LongBars, facts: PanelFacts, *, actions: LongActions | None = None) -> Panel:
    """Pivot rows onto a panel.

    Sessions and symbols are the sorted union of the rows'. A field is None if no row has it. The close and the time
    of knowledge of a session are the latest of its rows'. Raises DataInvalid if there is no row, or a key stands twice.
    """
    if len(bars.session) == 0:
        message = f"no valid bar of {facts.source} is left"
        raise DataInvalid(message, mend="look at the quarantine table for the reasons")
    sessions, row = np.unique(bars.session.astype("datetime64[D]"), return_inverse=True)
    symbols, column = np.unique(bars.symbol, return_inverse=True)
    if len(np.unique(row * len(symbols) + column)) != len(row):
        message = f"bars of {facts.source} hold a symbol and session twice"
        raise DataInvalid(message, mend="materialize validated_bars again")
    shape = (len(sessions), len(symbols))
    grids = {name: _grid(shape, row, column, bars.fields[name]) for name in FIELDS if name in bars.fields}
    present = {name: grid for name, grid in grids.items() if name == "close" or bool(np.any(np.isfinite(grid)))}
    dividends, splits = (None, None) if actions is None else action_grids(actions, sessions, symbols)
    return Panel(
        sessions=sessions,
        symbols=tuple(str(symbol) for symbol in symbols),
        price_kind=facts.price_kind,
        close=present["close"],
        open=present.get("open"),
        high=present.get("high"),
        low=present.get("low"),
        volume=present.get("volume"),
        dividends=dividends,
        split_ratios=splits,
        known_at=_latest(bars.known_at, row, len(sessions)),
        close_at=_latest(bars.close_at, row, len(sessions)),
        known_at_basis=facts.known_at_basis,
        sessions_per_year=facts.sessions_per_year,
        tick=facts.tick,
        currency=facts.currency,
        source=facts.source,
    )


def with_benchmark(panel: Panel, benchmark: BenchmarkLevel) -> Panel:
    """The panel with a benchmark's level on its sessions (NaN where the benchmark has none)."""
    return replace(panel, benchmark=_on_sessions(benchmark, panel.sessions), benchmark_name=benchmark.name)


def equal_weight_level(close: Floats) -> Floats:
    """Level of an equal-weight book of the names present, re-weighted each session; starts at 100.

    ``close`` has shape (n_sessions, n_symbols); a session without any return leaves the level where it was.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = close[1:] / close[:-1] - 1.0
    counted = np.isfinite(returns)
    total = np.where(counted, returns, 0.0).sum(axis=1)
    mean = total / np.maximum(counted.sum(axis=1), 1)
    return np.concatenate([[100.0], 100.0 * np.cumprod(1.0 + mean)])


def _grid(shape: tuple[int, int], row: NDArray[np.intp], column: NDArray[np.intp], values: Floats) -> Floats:
    grid = np.full(shape, np.nan)
    grid[row, column] = values
    return grid


def _latest(moments: NDArray[np.datetime64], row: NDArray[np.intp], n_sessions: int) -> NDArray[np.datetime64]:
    latest = np.full(n_sessions, np.iinfo(np.int64).min)
    np.maximum.at(latest, row, moments.astype("datetime64[us]").astype(np.int64))
    return latest.astype("datetime64[us]")


def action_grids(actions: LongActions, sessions: NDArray[np.datetime64], symbols: NDArray[np.str_]) -> tuple[Floats | None, Floats]:
    """Dividend and split grids; dividends are None where none is known at all (unknown is not zero)."""
    splits = np.ones((len(sessions), len(symbols)))
    dividends = np.zeros_like(splits)
    row = np.searchsorted(sessions, actions.session)
    column = np.searchsorted(symbols, actions.symbol)
    known = (row < len(sessions)) & (column < len(symbols))
    known[known] = (sessions[row[known]] == actions.session[known]) & (symbols[column[known]] == actions.symbol[known])
    is_split, is_dividend = known & (actions.kind == SPLIT), known & (actions.kind == DIVIDEND)
    splits[row[is_split], column[is_split]] = actions.value[is_split]
    dividends[row[is_dividend], column[is_dividend]] = actions.value[is_dividend]
    return (dividends if bool(np.any(is_dividend)) else None), splits


def _on_sessions(benchmark: BenchmarkLevel, sessions: NDArray[np.datetime64]) -> Floats:
    level = np.full(len(sessions), np.nan)
    common, ours, theirs = np.intersect1d(sessions, benchmark.session.astype("datetime64[D]"), return_indices=True)
    del common
    level[ours] = benchmark.level[theirs]
    return level
