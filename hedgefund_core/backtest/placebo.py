"""Placebo band: the same book with its signals on the wrong names. What luck alone makes of gross, turnover and costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
FILL_DELAY = 2
"""Decided after session t, filled at the close of t + 1, so the first return earned is that of t + 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleBook:
    """A book in the simplified accounting that candidate and placebos share.

    Attributes
    ----------
    weights : float64 (n_sessions, n_symbols), target weights decided at a session; a row all NaN = no decision,
        the last one stands; NaN in a decided row = no position.
    asset_returns : float64 (n_sessions, n_symbols), close-to-close simple returns; NaN (no bar) earns 0.
    cost_bps : commission on notional traded, in basis points.
    borrow_bps_per_year : fee on short notional.
    sessions_per_year : of the calendar.
    fill_delay : sessions between a decision and the first return it earns.
    """

    weights: Floats
    asset_returns: Floats
    cost_bps: float = 3.0
    borrow_bps_per_year: float = 50.0
    sessions_per_year: float = 252.0
    fill_delay: int = FILL_DELAY

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit, and a fill before the decision."""
        if self.weights.shape != self.asset_returns.shape or self.weights.ndim != 2:
            raise DataInvalid(f"weights {self.weights.shape} and returns {self.asset_returns.shape} do not fit")
        if self.fill_delay < 1:
            raise DataInvalid("a book cannot earn the return of the session it decided on")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboResult:
    """The candidate among its placebos.

    Attributes
    ----------
    first : position of the first session that counts (the first one that could earn).
    candidate_sharpe : annual Sharpe ratio of the candidate in the simplified accounting.
    sharpes : float64 (draws,), of the placebos.
    percentile : share of placebos below the candidate, counted over draws + 1 so that it never reaches 1.
    quantiles : levels of ``band``.
    band : float64 (len(quantiles), n_sessions - first), placebo equity from 1.
    candidate_equity : float64 (n_sessions - first,), the candidate's equity in the same accounting.
    """

    first: int
    candidate_sharpe: float
    sharpes: Floats
    percentile: float
    quantiles: tuple[float, ...]
    band: Floats
    candidate_equity: Floats

    @property
    def draws(self) -> int:
        """Number of placebos."""
        return int(self.sharpes.size)


def held_weights(book: SimpleBook) -> Floats:
    """Weights that earn at each session, float64 (n_sessions, n_symbols): decided rows carried forward, then delayed."""
    decided = np.isfinite(book.weights).any(axis=1)
    latest = np.maximum.accumulate(np.where(decided, np.arange(decided.size), -1))
    filled = np.where(latest[:, None] >= 0, np.nan_to_num(book.weights)[np.maximum(latest, 0)], 0.0)
    held = np.zeros_like(filled)
    held[book.fill_delay :] = filled[: -book.fill_delay]
    return held


def traded_fractions(held: Floats) -> Floats:
    """Notional traded over equity at each session, float64 (n_sessions,), from held weights."""
    before = np.vstack([np.zeros((1, held.shape[1])), held[:-1]])
    traded: Floats = np.abs(held - before).sum(axis=1)
    return traded


def net_returns(book: SimpleBook, columns: NDArray[np.int64] | None = None) -> Floats:
    """Net return of each session, float64 (n_sessions,).

    ``columns`` (n_symbols,) says which name's return each weight earns; None = its own. Turnover, gross and borrow do
    not depend on it. Simplifications, the same for candidate and placebos: weights stay constant between decisions,
    fractional shares, no limits or scalers beyond those already in the weights.
    """
    held = held_weights(book)
    returns = np.nan_to_num(book.asset_returns)
    earned = returns if columns is None else returns[:, columns]
    gross: Floats = (held * earned).sum(axis=1)
    return gross - _costs(book, held)


def placebo_band(
    book: SimpleBook, *, seed: int, draws: int = 500, start: int = 0, quantiles: tuple[float, ...] = QUANTILES
) -> PlaceboResult:
    """Compare a book with the same book on permuted names.

    Each draw keeps one permutation for all of history: gross, turnover, costs and holding times are the candidate's,
    only the names are wrong. A weight that lands on a name without a bar earns 0.

    Parameters
    ----------
    book : the candidate.
    seed : the same seed gives the same placebos.
    draws : number of placebos; the gate asks for at least 500.
    start : sessions before this position do not count (for example before the first score out of sample).

    Returns
    -------
    PlaceboResult : all Sharpe ratios from one function with the same simplifications (see ``net_returns``); they rank
        the candidate among its placebos and are not the figures of the report.

    Raises
    ------
    DataInvalid : nothing was ever decided.
    """
    held = held_weights(book)
    first = _first_session(held, start)
    held, returns = np.ascontiguousarray(held[first:].T), np.ascontiguousarray(np.nan_to_num(book.asset_returns[first:]).T)
    costs = _costs(book, held_weights(book))[first:]
    generator = np.random.default_rng(seed)
    net = np.empty((draws, costs.size))
    for draw in range(draws):
        earned = returns[generator.permutation(held.shape[0])]
        np.subtract(np.einsum("ij,ij->j", held, earned), costs, out=net[draw])
    candidate = np.einsum("ij,ij->j", held, returns) - costs
    sharpes = _sharpes(net, book.sessions_per_year)
    own = float(_sharpes(candidate[None, :], book.sessions_per_year)[0])
    return PlaceboResult(
        first=first,
        candidate_sharpe=own,
        sharpes=sharpes,
        percentile=float((sharpes < own).sum()) / (draws + 1),
        quantiles=quantiles,
        band=np.quantile(np.cumprod(1.0 + net, axis=1), quantiles, axis=0),
        candidate_equity=np.cumprod(1.0 + candidate),
    )


def _costs(book: SimpleBook, held: Floats) -> Floats:
    shorts = np.maximum(-held, 0.0).sum(axis=1)
    borrow = shorts * (book.borrow_bps_per_year / 1e4 / book.sessions_per_year)
    # What earns from session s on was traded at the close before: its commission is paid with that first return.
    costs: Floats = traded_fractions(held) * (book.cost_bps / 1e4) + borrow
    return costs


def _first_session(held: Floats, start: int) -> int:
    invested = np.flatnonzero(np.any(held != 0.0, axis=1))
    invested = invested[invested >= start]
    if invested.size == 0 or held.shape[0] - int(invested[0]) < 2:
        raise DataInvalid("the book never holds a position, so there is nothing to compare", mend="check scores and masks")
    return int(invested[0])


def _sharpes(net: Floats, sessions_per_year: float) -> Floats:
    spread = net.std(axis=1, ddof=1)
    moving = spread > 1e-15
    return np.where(moving, net.mean(axis=1) / np.where(moving, spread, 1.0) * np.sqrt(sessions_per_year), 0.0)
