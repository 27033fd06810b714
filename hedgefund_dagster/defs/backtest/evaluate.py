"""Books of a study through the vectorized engine, net of costs, with the mandate's limits on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hedgefund_core.backtest.placebo import PlaceboResult, SimpleBook, net_returns, placebo_band
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.score_book import BookRisk, book_risk, weights_of_scores
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features.kernels import returns_of
from hedgefund_dagster.defs.training.study import Study

INITIAL_CASH = 1_000_000.0
EARNS_AFTER = 2
"""Decided at a close, filled at the next auction: the first return earned is that of the second session after (`placebo.FILL_DELAY`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The sessions on which books of a study are compared.

    Attributes
    ----------
    panel : from a year before the first session out of sample (scalers need returns) up to the cut.
    offset : position of the panel's first session on the study's axis.
    start : position, on the panel's axis, of the first session that may decide; judged_from : of the first judged one.
    """

    panel: Panel
    risk: BookRisk
    offset: int
    start: int
    judged_from: int

    @property
    def first_judged(self) -> int:
        """Position of the first session whose return was earned by a judged decision."""
        return min(self.judged_from + EARNS_AFTER, self.panel.shape[0] - 1)

    @property
    def first_tested(self) -> int:
        """Position of the first session whose return was earned by any decision."""
        return min(self.start + EARNS_AFTER, self.panel.shape[0] - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A book and its result; the arrays reach over the arena's sessions."""

    weights: Floats
    result: BacktestResult


def arena(study: Study) -> Arena:
    """Prepare what all books of a study share."""
    window = max(study.mandate.beta_window, study.mandate.volatility_window) + 1
    offset = max(0, study.tested_from - window)
    panel = study.panel.rows(offset, study.panel.shape[0])
    return Arena(
        panel=panel,
        risk=book_risk(panel, study.mandate),
        offset=offset,
        start=study.tested_from - offset,
        judged_from=study.judged_from - offset,
    )


def evaluate(ground: Arena, scores: Floats) -> Evaluated:
    """The book of scores (n_sessions of the study, n_symbols) through the engine, with the mandate's limits and costs."""
    mandate = ground.risk.mandate
    weights = weights_of_scores(scores[ground.offset :], ground.risk, start=ground.start)
    result = run_target_weights(
        ground.panel, weights, costs=mandate.costs, limits=mandate, fill="auto", initial_cash=INITIAL_CASH, whole_shares=True
    )
    return Evaluated(weights=weights, result=result)


def simple_returns(ground: Arena, scores: Floats) -> Floats:
    """Net returns in the simplified accounting of the placebos: what every trial is counted with, limits aside."""
    weights = weights_of_scores(scores[ground.offset :], ground.risk, start=ground.start)
    return net_returns(_simple(ground, weights))


def double_cost_returns(book: Evaluated) -> Floats:
    """Returns if every commission and borrow fee of the book had been charged once more on the same trades."""
    result = book.result
    before = np.concatenate([[result.initial_cash], result.equity[:-1]])
    doubled: Floats = result.returns - (result.commissions + result.borrow) / before
    return doubled


def placebos(ground: Arena, book: Evaluated, *, seed: int, draws: int, start: int) -> PlaceboResult | None:
    """The book among books with permuted names; None where it never held anything.

    What is permuted are the weights the engine held after its scalers, so candidate and placebos carry the same risk.
    """
    try:
        return placebo_band(_simple(ground, _scaled_weights(book)), seed=seed, draws=draws, start=start)
    except DataInvalid:
        return None


def _scaled_weights(book: Evaluated) -> Floats:
    """At each decision the weights held once it was filled, one session later: what scalers and caps made of the target."""
    scaled = np.full_like(book.weights, np.nan)
    decided = np.flatnonzero(np.isfinite(book.weights).any(axis=1))
    decided = decided[decided + 1 < len(scaled)]
    scaled[decided] = book.result.weights[decided + 1]
    return scaled


def _simple(ground: Arena, weights: Floats) -> SimpleBook:
    costs = ground.risk.mandate.costs
    return SimpleBook(
        weights=weights,
        asset_returns=returns_of(ground.panel),
        cost_bps=costs.commission_bps,
        borrow_bps_per_year=costs.borrow_bps_per_year,
        sessions_per_year=ground.panel.sessions_per_year,
    )
