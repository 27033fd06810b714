"""The last sessions of a panel and what follows from each of them: a ring that takes a row without moving the others.

A window is a value. Windows that follow one another share their memory: a row is written behind the newest one, where no window has
looked yet. Of two that follow the same window, the second gets memory of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.portfolio.scaling import market_returns
from hedgefund_core.quant.return_history import ReturnHistory, row_digests

_FIELDS = ("sessions", *FIELDS, "dividends", "split_ratios", "benchmark", "known_at", "close_at")
_SPLIT_ROWS, _LEAST_ROOM = "split_rows", 16


@dataclass(slots=True, eq=False)
class _Tape:
    """Rows in one piece of memory, oldest first; ``used`` of ``length`` are written, and those never change."""

    arrays: dict[str, NDArray[Any]]
    length: int
    used: int

    def has_splits(self, rows: int, stop: int) -> bool:
        """Whether a split, or no knowledge of one, is still to be applied to prices of ``rows`` sessions."""
        return bool(self.arrays[_SPLIT_ROWS][stop - rows : stop].any())


class KnownBars(kernels.Bars):
    """Bars of which much is known: what a window keeps is not found out again, nor laid out for nobody."""

    __slots__ = ("_has_splits", "_history")

    def __init__(
        self, panel: Panel, rows: int, *, has_splits: bool, history: ReturnHistory | None = None, market: Floats | None = None
    ) -> None:
        super().__init__(panel, rows, market=market)
        self._has_splits, self._history = has_splits, history

    def returns(self, window: int) -> Floats:
        """As of any bars."""
        if self._returns is None and self._history is not None:
            self._returns = self._laid(self._history.returns)
        return super().returns(window)

    @property
    def split_columns(self) -> NDArray[np.intp]:
        """As of any bars; most have none."""
        return super().split_columns if self._has_splits else np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Window:
    """The last sessions of a panel.

    Attributes
    ----------
    panel : the bars, (T, n_symbols).
    history : the T - 1 returns from session to session, with the market's and the digest of each row.
    mean_returns : float64 (T - 1, 1), their mean in each session (kernels.market_returns).
    """

    panel: Panel
    history: ReturnHistory
    mean_returns: Floats
    _tape: _Tape = field(repr=False)
    _stop: int = field(repr=False)

    @classmethod
    def of(cls, panel: Panel) -> Window:
        """The window of a whole panel."""
        columns, sessions = _columns(panel), panel.shape[0]
        moves = _moves(KnownBars(panel, max(sessions - 1, 0), has_splits=bool(columns[_SPLIT_ROWS].any())))
        tape = _tape_of(columns | moves, sessions)
        return _window(_panel(panel, tape, 0, sessions), tape, sessions)

    def bars(self) -> KnownBars:
        """The last session as kernels read it."""
        splits = self._tape.has_splits(self.panel.shape[0], self._stop)
        return KnownBars(self.panel, 1, has_splits=splits, history=self.history, market=self.mean_returns)

    def extended(self, rows: Panel, *, keep: int) -> Window:
        """The window with ``rows`` after its own, cut to the last ``keep`` rows.

        Raises
        ------
        DataInvalid
            If symbols, kind of price or fields differ, or ``rows`` do not start after the last session.
        """
        held, added = self.panel.shape[0], rows.shape[0]
        if not held or added >= keep:
            return Window.of(self.panel.extend(rows, keep=keep))
        self.panel.check_same_kind(rows)
        tape, start = self._tape, self._stop - held
        if tape.used != self._stop or self._stop + added > tape.length:
            start = max(start, self._stop + added - keep)
            kept = {name: values[start : self._stop] for name, values in tape.arrays.items()}
            tape, start = _tape_of(kept, self._stop - start), 0
        stop = tape.used + added
        for name, values in _columns(rows).items():
            tape.arrays[name][tape.used : stop] = values
        panel = _panel(self.panel, tape, max(start, stop - keep), stop)
        for name, values in _moves(KnownBars(panel, added, has_splits=tape.has_splits(panel.shape[0], stop))).items():
            tape.arrays[name][tape.used : stop] = values
        tape.used = stop
        return _window(panel, tape, stop)


def _columns(panel: Panel) -> dict[str, NDArray[Any]]:
    columns = {name: getattr(panel, name) for name in _FIELDS if getattr(panel, name) is not None}
    splits = kernels.splits_of(panel)
    return columns | {_SPLIT_ROWS: np.zeros(panel.shape[0], dtype=np.bool_) if splits is None else (splits != 1.0).any(axis=1)}


def _moves(bars: KnownBars) -> dict[str, NDArray[Any]]:
    """What follows from one session to the next, in as many of the last rows as are wanted; before them there is one more."""
    returns, level = kernels.return_between(bars, 1, 0), bars.panel.benchmark
    level = None if level is None else level[len(level) - bars.rows - 1 :]
    return {
        "returns": returns,
        "mean_returns": kernels.market_returns(returns),
        "market": market_returns(returns, None if level is None else level[1:] / level[:-1] - 1.0),
        "digests": row_digests(returns),
    }


def _tape_of(rows: dict[str, NDArray[Any]], used: int) -> _Tape:
    """A copy with room for as many rows again; a column with a row less than ``used`` has nothing at the first one."""
    length = used + max(used, _LEAST_ROOM)
    arrays = {}
    for name, values in rows.items():
        arrays[name] = np.empty((length, *values.shape[1:]), dtype=values.dtype)
        arrays[name][used - len(values) : used] = values
    return _Tape(arrays=arrays, length=length, used=used)


def _panel(like: Panel, tape: _Tape, start: int, stop: int) -> Panel:
    rows: dict[str, Any] = {name: tape.arrays[name][start:stop] for name in _FIELDS if name in tape.arrays}  # replace() takes all types
    return replace(like, **rows)


def _window(panel: Panel, tape: _Tape, stop: int) -> Window:
    first = stop - max(panel.shape[0] - 1, 0)
    moves = {name: tape.arrays[name][first:stop] for name in ("returns", "mean_returns", "market", "digests")}
    history = ReturnHistory(returns=moves["returns"], market=moves["market"]).with_digests(moves["digests"])
    return Window(panel=panel, history=history, mean_returns=moves["mean_returns"], _tape=tape, _stop=stop)
