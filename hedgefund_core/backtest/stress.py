"""What would hurt the book: its own worst windows in history, and shocks that history has not shown it.

Every loss is positive, a fraction of equity, of *today's weights*: the question is what the book loses now, not what
some other book lost then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.portfolio.scaling import book_beta, book_returns, book_volatility

Floats = NDArray[np.float64]

WINDOWS = (1, 5, 21)
"""Sessions: a day, a week, a month."""
MARKET_MOVE = 0.20
"""As on Black Monday 1987 (-20.5 % in the S&P 500), the way that hurts this book."""
SINGLE_NAME_GAP = 0.30
VOLATILITY_SHOCK = 3.0
NORMAL_99 = 2.3263478740408408
"""99 % quantile of the standard normal distribution."""
EPISODES = (
    ("dot-com fall 2000-2002", "2000-09-01", "2002-10-09"),
    ("crisis of autumn 2008", "2008-09-12", "2008-11-20"),
    ("momentum crash of spring 2009", "2009-03-09", "2009-05-29"),
    ("August 2011", "2011-07-22", "2011-08-19"),
    ("pandemic fall of 2020", "2020-02-19", "2020-03-23"),
)
"""Windows in which long/short books and long books were hurt (Daniel & Moskowitz 2016 for 2009)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressLoss:
    """One stress: the loss of today's book (positive, fraction of equity), and whether it stays within the limit."""

    name: str
    loss: float
    limit: float
    detail: str

    @property
    def within(self) -> bool:
        """Whether the loss stays within the limit; a loss that cannot be computed does not."""
        return self.loss <= self.limit


def stress_book(
    weights: Floats,
    returns: Floats,
    sessions: NDArray[np.datetime64],
    betas: Floats,
    *,
    decay: float,
    sessions_per_year: float,
    limit: float = 0.10,
) -> tuple[StressLoss, ...]:
    """Every stress of a book.

    Parameters
    ----------
    weights : float64 (m,), signed fractions of equity; NaN counts zero.
    returns : float64 (T, m), simple returns, oldest first; a missing one counts zero.
    sessions : datetime64[D] (T,), of the returns.
    betas : float64 (m,), to the market; NaN counts 1.
    decay, sessions_per_year : of the ex-ante volatility.
    limit : largest loss accepted.

    Raises
    ------
    DataInvalid : shapes that do not fit.
    """
    if returns.shape != (len(sessions), len(weights)):
        message = f"returns {returns.shape} do not fit {len(sessions)} sessions and {len(weights)} weights"
        raise DataInvalid(message)
    held = np.nan_to_num(weights, nan=0.0)
    history = book_returns(held, returns)
    losses = [*_worst_windows(history, sessions, limit), *_episodes(history, sessions, limit)]
    losses.append(
        _loss(
            "market moves 20 % in a day",
            MARKET_MOVE * abs(book_beta(held, betas)),
            limit,
            "the worse way for this book, each name by its beta",
        )
    )
    losses.append(_gap(held, limit))
    sigma = book_volatility(held, returns, decay, sessions_per_year) / sessions_per_year**0.5
    detail = "99 % loss of a session at three times the ex-ante volatility"
    losses.append(_loss("volatility times three", NORMAL_99 * VOLATILITY_SHOCK * sigma, limit, detail))
    losses.append(_hedges_fail(held, returns, limit))
    return tuple(losses)


def _loss(name: str, loss: float, limit: float, detail: str) -> StressLoss:
    return StressLoss(name=name, loss=float(loss), limit=limit, detail=detail)


def _worst_windows(history: Floats, sessions: NDArray[np.datetime64], limit: float) -> list[StressLoss]:
    """The worst run of sessions of each length for this book."""
    found = []
    for length in WINDOWS:
        if len(history) < length:
            continue
        total = np.concatenate([[0.0], np.cumsum(history)])
        earned = total[length:] - total[:-length]
        worst = int(np.argmin(earned))
        detail = f"{sessions[worst]} to {sessions[worst + length - 1]}, weights held constant"
        found.append(_loss(f"worst {length} session{'s' if length > 1 else ''} of history", max(-earned[worst], 0.0), limit, detail))
    return found


def _episodes(history: Floats, sessions: NDArray[np.datetime64], limit: float) -> list[StressLoss]:
    """Named crises that lie wholly within the data."""
    found = []
    for name, first, last in EPISODES:
        start, end = np.datetime64(first), np.datetime64(last)
        if len(sessions) and sessions[0] <= start and sessions[-1] >= end:
            inside = history[(sessions >= start) & (sessions <= end)]
            path = np.concatenate([[0.0], np.cumsum(inside)])
            fall = float((np.maximum.accumulate(path) - path).max())
            found.append(_loss(name, fall, limit, f"largest fall between {first} and {last}, weights held constant"))
    return found


def _gap(held: Floats, limit: float) -> StressLoss:
    """The largest position gaps 30 % against the book: a long falls, a short is taken over."""
    largest = float(np.abs(held).max()) if held.size else 0.0
    return _loss("largest position gaps 30 %", SINGLE_NAME_GAP * largest, limit, "against the book, overnight")


def _hedges_fail(held: Floats, returns: Floats, limit: float) -> StressLoss:
    """Every correlation at its worst: longs fall together while shorts rise together."""
    known = np.isfinite(returns)
    count = np.maximum(known.sum(axis=0), 1)
    sigma = np.sqrt((np.where(known, returns, 0.0) ** 2).sum(axis=0) / count)
    detail = "99 % loss of a session, all correlations 1 within each leg and -1 between them"
    return _loss("hedges fail, correlation one", NORMAL_99 * float((np.abs(held) * sigma).sum()), limit, detail)
