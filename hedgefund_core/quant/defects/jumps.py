"""Jump scores in time and across symbols, and what explains a jump: a way to rank moves, and to ask why one was kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hedgefund_core.quant.bars import Floats, Panel, PriceKind
from hedgefund_core.quant.defects.defect import Defect
from hedgefund_core.quant.defects.grid import MAD_TO_SIGMA, SCALE_FLOOR, Grid

JUMP_SIGMAS = 6.0
NEWS_VOLUME = 2.0
MARKET_SHARE = 0.5
TICKS = 3.0


class Cause(StrEnum):
    """Why a jump is believed, or not."""

    ACTION = "corporate action"
    DISTRIBUTION = "looks like a distribution"
    MARKET = "market"
    TICK = "tick size"
    NEWS = "news: it came with volume"
    DEFECT = "defect"
    DEFECT_BEFORE = "return from a defect"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """One large move. ``in_time`` and ``across`` are robust z-scores; ``move`` is the log return from the previous bar."""

    row: int
    column: int
    symbol: str
    session: np.datetime64
    move: float
    in_time: float
    across: float
    cause: Cause


def jump_scores(panel: Panel) -> tuple[Floats, Floats]:
    """Robust z-scores of log returns against the symbol's own past and against the session's cross-section.

    Parameters
    ----------
    panel : bars, closes (n_sessions, n_symbols).

    Returns
    -------
    (in_time, across), each (n_sessions, n_symbols), signed; NaN where there is no previous bar, and in ``across`` where
    fewer than three symbols moved. ``in_time`` uses the 60 rows before only; scale is 1.4826 times the median absolute
    deviation (Rousseeuw & Croux 1993).
    """
    grid = Grid(panel)
    return _in_time(grid), _across(grid)


def explain_jumps(panel: Panel, defects: list[Defect], *, sigmas: float = JUMP_SIGMAS) -> list[Jump]:
    """Every move beyond ``sigmas`` in time with its cause, largest first.

    Parameters
    ----------
    panel : the panel the defects were found in; stated splits and dividends explain moves where it has them.
    defects : findings of ``find_defects``.

    Returns
    -------
    Jumps whose cause is ``UNEXPLAINED`` are believed as well: a real crash needs no permission.
    """
    grid = Grid(panel)
    in_time, across = _in_time(grid), _across(grid)
    raw = grid.close - grid.at(grid.close, grid.before)
    held = {(item.row, item.column) for item in defects if item.severity == "error"}
    drops = {(item.row, item.column) for item in defects if item.rule in {"distribution", "unadjusted_split"}}
    found = []
    for row, column in np.argwhere(np.abs(in_time) > sigmas):
        cell = (int(row), int(column))
        previous = (int(grid.before[cell]), cell[1])
        if cell in held:
            cause = Cause.DEFECT
        elif previous in held:
            cause = Cause.DEFECT_BEFORE
        else:
            cause = Cause.DISTRIBUTION if cell in drops else _cause(grid, cell, float(raw[cell]))
        found.append(
            Jump(
                row=cell[0],
                column=cell[1],
                symbol=panel.symbols[cell[1]],
                session=panel.sessions[cell[0]],
                move=float(raw[cell]),
                in_time=float(in_time[cell]),
                across=float(across[cell]),
                cause=cause,
            )
        )
    return sorted(found, key=lambda jump: -abs(jump.move))


def _in_time(grid: Grid) -> Floats:
    scores = np.full(grid.shape, np.nan)
    rows, columns = np.nonzero(np.isfinite(grid.move) & (np.abs(grid.move) > 2 * SCALE_FLOOR))
    scores[np.isfinite(grid.move)] = 0.0
    scores[rows, columns] = grid.move[rows, columns] / grid.scale(grid.move, rows, columns)
    return scores


def _across(grid: Grid) -> Floats:
    spread = np.maximum(grid.market(np.abs(grid.move)) * MAD_TO_SIGMA, SCALE_FLOOR)
    enough = np.isfinite(grid.move).sum(axis=1) >= 3
    return np.where(enough[:, None], grid.move / spread[:, None], np.nan)


def _cause(grid: Grid, cell: tuple[int, int], move: float) -> Cause:
    panel, (row, column) = grid.panel, cell
    stated = 0.0
    if panel.split_ratios is not None and panel.price_kind is PriceKind.RAW:
        stated -= float(np.log(max(panel.split_ratios[cell], 1e-12)))
    if panel.dividends is not None and np.isfinite(panel.dividends[cell]):
        stated -= float(panel.dividends[cell]) / float(np.exp(grid.close[grid.before[cell], column]))
    if stated and abs(move - stated) < abs(move) / 2:
        return Cause.ACTION
    market = move - float(grid.move[cell])
    if abs(market) > MARKET_SHARE * abs(move):
        return Cause.MARKET
    if abs(np.expm1(move)) * panel.close[grid.before[cell], column] <= TICKS * grid.tick:
        return Cause.TICK
    return Cause.NEWS if grid.volume_ratio[row, column] > np.log(NEWS_VOLUME) else Cause.UNEXPLAINED
