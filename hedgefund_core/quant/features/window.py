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
_LEAST_ROOM = 16


@dataclass(slots=True, eq=False)
class _Tape:
    """Rows in one piece of memory, oldest first; ``used`` of ``length`` are written, and those never change."""

    arrays: dict[str, NDArray[Any]]
    length: int
    used: int


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
        return _window(panel, _tape_of(_columns(panel) | _moves(panel), panel.shape[0]), 0, panel.shape[0])

    @property
    def has_splits(self) -> bool:
        """Whether a split, or no knowledge of one, is still to be applied to prices of it."""
        return bool(self._tape.arrays["has_splits"][self._stop - self.panel.shape[0] : self._stop].any())

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
        for name, values in _moves(_panel(self.panel, tape, tape.used - 1, stop)).items():
            tape.arrays[name][tape.used : stop] = values
        tape.used = stop
        return _window(self.panel, tape, max(start, stop - keep), stop)


class WindowBars(kernels.Bars):
    """The last session of a window as kernels read it: what the window knows is not found out again, nor laid out for nobody."""

    __slots__ = ("_window",)

    def __init__(self, window: Window) -> None:
        super().__init__(window.panel, 1, market=window.mean_returns)
        self._window = window

    def returns(self, window: int) -> Floats:
        """As of any bars."""
        if self._returns is None:
            self._returns = self._laid(self._window.history.returns)
        return super().returns(window)

    @property
    def split_columns(self) -> NDArray[np.intp]:
        """As of any bars; most windows have none."""
        return super().split_columns if self._window.has_splits else np.empty(0, dtype=np.intp)


def _columns(panel: Panel) -> dict[str, NDArray[Any]]:
    columns = {name: getattr(panel, name) for name in _FIELDS if getattr(panel, name) is not None}
    splits = kernels.splits_of(panel)
    return columns | {"has_splits": np.zeros(panel.shape[0], dtype=np.bool_) if splits is None else (splits != 1.0).any(axis=1)}


def _moves(panel: Panel) -> dict[str, NDArray[Any]]:
    """What follows from each session to the next: one row less than the panel has."""
    returns, level = kernels.returns_of(panel)[1:], panel.benchmark
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


def _window(like: Panel, tape: _Tape, start: int, stop: int) -> Window:
    moves = {name: tape.arrays[name][min(start + 1, stop) : stop] for name in ("returns", "mean_returns", "market", "digests")}
    history = ReturnHistory(returns=moves["returns"], market=moves["market"]).with_digests(moves["digests"])
    return Window(panel=_panel(like, tape, start, stop), history=history, mean_returns=moves["mean_returns"], _tape=tape, _stop=stop)
