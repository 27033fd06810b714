"""Reads as of a moment from tables with three times: ts (happened), known_at (knowable), recorded_at (stored).

Per (instrument, ts) a read returns the greatest version recorded by then; a version that became known later does not
exist yet. A correction is a new version with its own known_at, never a changed row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    Table = TypeVar("Table", pd.DataFrame, pl.DataFrame)

Times = NDArray[np.datetime64]
_KEY_COLUMNS = ("instrument_id", "ts", "known_at", "recorded_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The times of the rows of a table, (n_rows,) each.

    Attributes
    ----------
    instrument_id : str array.
    ts, known_at, recorded_at : datetime64, UTC.
    """

    instrument_id: NDArray[np.str_]
    ts: Times
    known_at: Times
    recorded_at: Times

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and times that are absent."""
        columns = (self.instrument_id, self.ts, self.known_at, self.recorded_at)
        if len({len(column) for column in columns}) != 1:
            message = "the columns of a table have different lengths"
            raise DataInvalid(message)
        if any(bool(np.isnat(times).any()) for times in columns[1:]):
            message = "a row has no ts, known_at or recorded_at"
            raise DataInvalid(message, mend="quarantine the row: without its times nobody can say when it was known")


def as_of(rows: Versions, *, known_by: np.datetime64 | Times, recorded_by: np.datetime64 | None = None) -> NDArray[np.int64]:
    """Positions of the rows a reader at a moment would have seen.

    Parameters
    ----------
    rows : times of a table, in any order.
    known_by : rows known later are left out; one moment, or one for each row (the decision time of its session).
    recorded_by : rows recorded later are left out: pins a read, so that it can be repeated. None = all.

    Returns
    -------
    int64 positions, one for each (instrument, ts) that has a version by then, ordered by instrument and ts. Of several
    versions the last recorded wins, then the last known, then the last in the table.
    """
    seen = rows.known_at <= known_by
    if recorded_by is not None:
        seen &= rows.recorded_at <= recorded_by
    places = np.flatnonzero(seen).astype(np.int64)
    order = np.lexsort((rows.known_at[places], rows.recorded_at[places], rows.ts[places], rows.instrument_id[places]))
    places = places[order]
    if len(places) == 0:
        return places
    instrument, ts = rows.instrument_id[places], rows.ts[places]
    last = np.ones(len(places), dtype=np.bool_)
    last[:-1] = (instrument[1:] != instrument[:-1]) | (ts[1:] != ts[:-1])
    return places[last]


def as_of_values(rows: Versions, values: Floats, positions: NDArray[np.int64], *, instruments: tuple[str, ...], ts: Times) -> Floats:
    """Values of the read rows on the axes of a panel, float64 (len(ts), len(instruments)); NaN = no version by then."""
    out = np.full((len(ts), len(instruments)), np.nan)
    columns = {name: column for column, name in enumerate(instruments)}
    lines = {moment: line for line, moment in enumerate(ts.astype("datetime64[us]").tolist())}
    moments = rows.ts[positions].astype("datetime64[us]").tolist()
    for place, moment in zip(positions, moments, strict=True):
        column, line = columns.get(str(rows.instrument_id[place])), lines.get(moment)
        if column is not None and line is not None:
            out[line, column] = values[place]
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One field on the axes of a panel: ``values`` float64 (n_sessions, n_symbols), NaN = no version by then."""

    sessions: Times
    symbols: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVersions:
    """Versions of the cells of a grid, rows in the order of recording.

    Attributes
    ----------
    sessions, symbols : axes of the grid.
    cell : (n_rows,) session position x n_symbols + symbol position.
    known_at, recorded_at : (n_rows,) microseconds since 1970, UTC.
    """

    sessions: Times
    symbols: tuple[str, ...]
    cell: NDArray[np.int64]
    known_at: NDArray[np.int64]
    recorded_at: NDArray[np.int64]


def laid_out(versions: CellVersions, values: Floats, *, known_by: int | None = None, recorded_by: int | None = None) -> Grid:
    """Versions laid onto a grid: of those visible the last recorded stands.

    Parameters
    ----------
    versions : which cell each row belongs to, and when it was known and recorded.
    values : (n_rows,) the field, NaN = null.
    known_by, recorded_by : microseconds since 1970; versions known or recorded later do not exist yet; None = all.

    Returns
    -------
    Grid over all sessions and symbols; sessions nothing was known of yet are rows of NaN.
    """
    sessions, symbols, cell = versions.sessions, versions.symbols, versions.cell
    grid = np.full(len(sessions) * len(symbols), np.nan)
    seen: NDArray[np.bool_] | None = None if known_by is None else versions.known_at <= known_by
    if recorded_by is not None:
        stored = versions.recorded_at <= recorded_by
        seen = stored if seen is None else seen & stored
    if seen is None or bool(seen.all()):
        grid[cell] = values
    else:
        grid[cell[seen]] = values[seen]
    return Grid(sessions=sessions, symbols=symbols, values=grid.reshape(len(sessions), len(symbols)))


def as_of_frame(frame: Table, *, known_by: np.datetime64, recorded_by: np.datetime64 | None = None) -> Table:
    """`as_of` for a pandas or polars frame with the columns instrument_id, ts, known_at and recorded_at.

    Times are UTC; the kept rows come ordered by instrument and ts.

    Raises
    ------
    DataInvalid
        If a column is absent, or a row lacks one of its times.
    """
    missing = [name for name in _KEY_COLUMNS if name not in frame.columns]
    if missing:
        message = f"the table has no column {', '.join(missing)}"
        raise DataInvalid(message)
    rows = Versions(
        instrument_id=np.asarray(frame["instrument_id"].to_numpy(), dtype=np.str_),
        ts=_moments(frame, "ts"),
        known_at=_moments(frame, "known_at"),
        recorded_at=_moments(frame, "recorded_at"),
    )
    places = as_of(rows, known_by=known_by, recorded_by=recorded_by)
    return frame.iloc[places] if hasattr(frame, "iloc") else frame[places]


def _moments(frame: pd.DataFrame | pl.DataFrame, name: str) -> Times:
    """datetime64[us] of a column, aware or naive: both are UTC here."""
    column = frame[name].to_numpy()
    if column.dtype == np.dtype(object):  # aware pandas columns: Timestamps
        return np.array([np.datetime64(int(moment.timestamp() * 1_000_000), "us") for moment in column], dtype="datetime64[us]")
    return np.asarray(column, dtype="datetime64[us]")
