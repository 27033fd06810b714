"""What the book has to be compared with: cash, the same names held equally, the published 12-1 rule, and the index.

All baselines run on the same sessions and fills, and the traded ones pay the same costs. The index is a *price* index where the
panel says so: it leaves dividends out, and beating it by less than they are is no merit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.score_book import book_risk, weights_of_scores
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features import compute_features
from hedgefund_core.quant.sessions import RebalanceAnchor, rebalance_mask
from hedgefund_core.risk.limits import Costs, Mandate

Floats = NDArray[np.float64]
MOMENTUM = "momentum_12_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One comparison: ``equity`` float64 (n,), 1 before its first session; ``returns`` (n,); ``note`` says what it is."""

    name: str
    label: str
    note: str
    returns: Floats
    result: BacktestResult | None = None

    @property
    def equity(self) -> Floats:
        """Growth of 1, float64 (n,), after each session."""
        return np.asarray(np.cumprod(1.0 + self.returns), dtype=np.float64)


def equal_weight_targets(panel: Panel, anchor: RebalanceAnchor | str = RebalanceAnchor.WEEK_END, *, start: int = 0) -> Floats:
    """Equal weights of the names that have a bar, float64 (n, m), NaN rows between rebalances.

    The first rebalance is at ``start`` itself, so that the baseline holds the market from the book's first session on.
    """
    rebalances = rebalance_mask(panel.sessions, anchor)
    rebalances[start] = True
    present = np.isfinite(panel.close)
    count = present.sum(axis=1, keepdims=True)
    weights = np.where(present, 1.0 / np.maximum(count, 1), 0.0)
    weights[~rebalances] = np.nan
    weights[:start] = np.nan
    return weights


def all_baselines(
    panel: Panel,
    *,
    mandate: Mandate,
    costs: Costs,
    fill: str,
    initial_cash: float,
    start: int,
    waived: frozenset[str] | None = None,
) -> dict[str, Baseline]:
    """Every baseline from session ``start`` on, by name, in the order in which they are shown.

    Parameters
    ----------
    panel : the whole panel: the 12-1 book needs a year before ``start``.
    mandate : of the book under test; the 12-1 baseline is held to the same one.
    costs, fill, initial_cash, waived : as in ``run_target_weights``.

    Raises
    ------
    DataInvalid : ``start`` outside the panel.
    """
    if not 0 <= start < panel.shape[0]:
        message = f"baselines cannot start at session {start} of {panel.shape[0]}"
        raise DataInvalid(message, mend="choose a session of the panel")
    n = panel.shape[0] - start
    cash = Baseline(name="cash", label="Cash", note="earns nothing: no bill rates in this data set", returns=np.zeros(n))
    held = run_target_weights(panel, equal_weight_targets(panel, start=start), costs=costs, fill=fill, initial_cash=initial_cash)
    equal = _of_result(held, start, "equal_weight", "Equal weight, same names", "rebalanced weekly, after costs; survivors only")
    scores = compute_features(panel, [MOMENTUM]).values[:, :, 0]
    weights = weights_of_scores(scores, book_risk(panel, mandate), start=start)
    ruled = run_target_weights(panel, weights, costs=costs, limits=mandate, fill=fill, initial_cash=initial_cash, waived=waived)
    momentum = _of_result(ruled, start, MOMENTUM, "12-1 momentum book", "Jegadeesh & Titman 1993, same mandate and costs")
    baselines = [cash, equal, momentum]
    index = _index(panel, start)
    return {baseline.name: baseline for baseline in (baselines if index is None else [*baselines, index])}


def _of_result(result: BacktestResult, start: int, name: str, label: str, note: str) -> Baseline:
    return Baseline(name=name, label=label, note=note, returns=result.returns[start:], result=result)


def _index(panel: Panel, start: int) -> Baseline | None:
    """The panel's benchmark, None where it has none."""
    if panel.benchmark is None:
        return None
    known = np.where(np.isfinite(panel.benchmark), np.arange(panel.shape[0]), 0)
    level = panel.benchmark[np.maximum.accumulate(known)]
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.concatenate([[0.0], level[1:] / level[:-1] - 1.0])
    returns = np.where(np.isfinite(moves), moves, 0.0)[start:].copy()
    returns[0] = 0.0  # decided at the close of `start`: that session was not held
    return Baseline(name="index", label=f"{panel.benchmark_name} (price index)", note="without dividends and costs", returns=returns)
