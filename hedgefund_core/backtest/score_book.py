"""From scores to the book they would hold: the construction of ``decision.decide`` at each rebalance, for research."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features.kernels import returns_of
from hedgefund_core.quant.portfolio import OPTIMIZERS
from hedgefund_core.quant.portfolio.scaling import betas, daily_sigmas, market_returns
from hedgefund_core.quant.sessions import rebalance_mask
from hedgefund_core.quant.signals import quantize_scores
from hedgefund_core.risk.limits import Mandate


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRisk:
    """What a book's construction reads besides scores; made once for all candidates on the same sessions.

    Attributes
    ----------
    rebalances : bool (n_sessions,), sessions at whose close the book is decided.
    betas, volatilities : float64 (n_sessions, n_symbols), filled at rebalances only; volatilities are a year's.
    """

    mandate: Mandate
    rebalances: NDArray[np.bool_]
    betas: Floats
    volatilities: Floats


def book_risk(panel: Panel, mandate: Mandate) -> BookRisk:
    """Betas and volatilities at each rebalance, from the windows the live decision uses; nothing after the session is read."""
    returns = returns_of(panel)
    rebalances = rebalance_mask(panel.sessions, mandate.rebalancing.anchor)
    market = market_returns(returns[1:], _benchmark_returns(panel))
    filled_betas, volatilities = np.full(panel.shape, np.nan), np.full(panel.shape, np.nan)
    for t in np.flatnonzero(rebalances):
        known = returns[1 : t + 1]
        window = slice(max(0, t - mandate.beta_window), t)
        filled_betas[t] = betas(returns[1:][window], market[window])
        volatilities[t] = daily_sigmas(known[-mandate.volatility_window :]) * np.sqrt(panel.sessions_per_year)
    return BookRisk(mandate=mandate, rebalances=rebalances, betas=filled_betas, volatilities=volatilities)


def weights_of_scores(scores: Floats, risk: BookRisk, *, start: int = 0) -> Floats:
    """Target weights at full gross, before the mandate's scalers.

    Parameters
    ----------
    scores : float64 (n_sessions, n_symbols), each known at the close of its session; NaN = not scored.
    risk : of the same panel.
    start : sessions before this position decide nothing.

    Returns
    -------
    float64 (n_sessions, n_symbols): a row of NaN = no decision (no rebalance, or nothing is scored).

    Raises
    ------
    DataInvalid : scores of another shape.
    """
    if scores.shape != risk.betas.shape:
        message = f"scores have shape {scores.shape}, the book {risk.betas.shape}"
        raise DataInvalid(message, mend="score the panel of the book")
    optimizer = OPTIMIZERS["rank_long_only" if risk.mandate.long_only else "rank_neutral"]
    weights = np.full(scores.shape, np.nan)
    decided = np.flatnonzero(risk.rebalances & np.isfinite(scores).any(axis=1))
    for t in decided[decided >= start]:
        weights[t] = optimizer(quantize_scores(scores[t]), risk.betas[t], risk.volatilities[t], risk.mandate.limits.max_gross)
    return weights


def _benchmark_returns(panel: Panel) -> Floats | None:
    if panel.benchmark is None:
        return None
    level = panel.benchmark
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(level[1:] / level[:-1] - 1.0)
