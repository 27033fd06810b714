"""From records and arrays to the evidence the gate judges."""

from __future__ import annotations

import numpy as np

from hedgefund_core.backtest.event_driven import run_events
from hedgefund_core.backtest.gate import GateInputs, RefitInputs, RiskFigure
from hedgefund_core.backtest.placebo import SimpleBook, held_weights, traded_fractions
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.score_book import weights_of_scores
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.measures.information_coefficient import information_coefficient, session_rank_correlations
from hedgefund_core.quant.measures.measure import Z_95
from hedgefund_core.quant.models import score_panel
from hedgefund_core.quant.models.model import ScoreModel
from hedgefund_core.risk.limits import promised
from hedgefund_dagster.defs.backtest.evaluate import INITIAL_CASH, Arena, arena
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.training.records import Figure
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.resources.lake import Lake

PARITY_SESSIONS = 21
RECENT_SESSIONS = 252
DRIFT = 1.25
"""Between rebalances prices move and measures with them: a quarter above a limit is drift, more is a broken scaler."""
Leakage = tuple[str, ...] | None


def approval_inputs(study: Study, record: BacktestRecord, lake: Lake, place: str, leakage: Leakage) -> GateInputs:
    """Evidence for the challenger as a strategy, on the judged sessions, against the declared rule of the same mandate."""
    arrays = lake.read_arrays(f"{place}/backtest.npz")
    first = int(np.searchsorted(arrays["sessions"].astype("datetime64[D]"), np.datetime64(record.judged_from, "D")))
    judged = {
        name: np.asarray(arrays[name], dtype=np.float64)[first:]
        for name in (f"returns_{record.challenger}", f"returns_{record.champion}", f"double_{record.challenger}")
    }
    book = record.books[record.challenger]
    return GateInputs(
        candidate=record.challenger,
        baseline=record.champion,
        returns=judged[f"returns_{record.challenger}"],
        baseline_returns=judged[f"returns_{record.champion}"],
        double_cost_returns=judged[f"double_{record.challenger}"],
        available_years=record.years_judged,
        placebo_percentile=np.nan if book.placebo_percentile is None else book.placebo_percentile,
        placebo_draws=book.placebo_draws,
        leakage_findings=leakage,
        trials=record.trials.summary(),
        sessions_per_year=study.panel.sessions_per_year,
    )


def refit_inputs(
    study: Study,
    candidate: tuple[str, ScoreModel],
    incumbent: tuple[str, ScoreModel],
    *,
    expected_ic: Figure,
    leakage: Leakage,
    golden_equal: bool,
) -> RefitInputs:
    """Evidence that the model of this cut is still the strategy that was approved."""
    ground = arena(study)
    rows = slice(max(0, study.panel.shape[0] - RECENT_SESSIONS), None)
    fresh, old = scores_of(study, candidate[1]), scores_of(study, incumbent[1])
    labels = study.research.labels[rows]
    recent = information_coefficient(old[rows], labels, overlap=study.research.overlap)
    half = np.nan if recent.low is None or recent.high is None else (recent.high - recent.low) / 2.0
    return RefitInputs(
        candidate=candidate[0],
        incumbent=incumbent[0],
        leakage_findings=leakage,
        golden_vectors_equal=golden_equal,
        parity_difference=parity(ground, fresh),
        turnover=_turnover(ground, fresh),
        incumbent_turnover=_turnover(ground, old),
        rank_correlation=float(np.nanmean(session_rank_correlations(fresh[rows], old[rows]))),
        recent_ic=recent.value,
        recent_ic_error=half / Z_95,
        expected_ic=np.nan if expected_ic.value is None else expected_ic.value,
        risk=_risk(ground, fresh),
    )


def scores_of(study: Study, model: ScoreModel) -> Floats:
    """Scores of one model over the whole axis: for comparing two models, never for judging one."""
    columns = [study.research.columns.index(name) for name in model.columns]
    return score_panel(model, study.research.values[:, :, columns], study.research.mask)


def _from_cash(ground: Arena, scores: Floats) -> tuple[Panel, Floats, BacktestResult]:
    """The book of the last sessions started from cash: panel with the scalers' window before it, weights, result."""
    mandate, end = ground.risk.mandate, ground.panel.shape[0]
    first = max(0, end - max(mandate.beta_window, mandate.volatility_window) - 1 - PARITY_SESSIONS)
    panel = ground.panel.rows(first, end)
    weights = weights_of_scores(scores[ground.offset :], ground.risk, start=end - PARITY_SESSIONS)[first:]
    result = run_target_weights(
        panel, weights, costs=mandate.costs, limits=mandate, fill="auto", initial_cash=INITIAL_CASH, whole_shares=True
    )
    return panel, weights, result


def parity(ground: Arena, scores: Floats) -> float:
    """Largest relative difference of the two engines' equity over the last sessions."""
    panel, weights, fast = _from_cash(ground, scores)
    mandate = ground.risk.mandate
    slow = run_events(panel, weights, costs=mandate.costs, limits=mandate, fill="auto", initial_cash=INITIAL_CASH)
    return float(np.max(np.abs(slow.equity / fast.equity - 1.0)))


def _recent_weights(ground: Arena, scores: Floats) -> Floats:
    start = max(ground.start, ground.panel.shape[0] - RECENT_SESSIONS)
    return weights_of_scores(scores[ground.offset :], ground.risk, start=start)


def _turnover(ground: Arena, scores: Floats) -> float:
    """Notional a year over equity of the recent book at full gross: two models are compared, limits scale both alike."""
    weights = _recent_weights(ground, scores)
    held = held_weights(SimpleBook(weights=weights, asset_returns=np.zeros_like(weights)))
    return float(traded_fractions(held)[-RECENT_SESSIONS:].mean()) * ground.panel.sessions_per_year


def _risk(ground: Arena, scores: Floats) -> dict[str, RiskFigure]:
    """The book the model asks for today, after the mandate's scalers, against the mandate's limits."""
    _, _, result = _from_cash(ground, scores)
    last, mandate = result.weights[-1], ground.risk.mandate
    volatility = float("nan") if result.trace is None else float(result.trace.volatility[-1])
    return {
        "gross": RiskFigure(value=float(np.abs(last).sum()), limit=mandate.limits.max_gross * DRIFT),
        "net": RiskFigure(value=float(last.sum()), limit=mandate.limits.max_net),
        "position": RiskFigure(value=float(np.abs(last).max()), limit=mandate.limits.max_position_weight * DRIFT),
        "volatility": RiskFigure(value=volatility, limit=promised(mandate.target_volatility, "volatility", mandate) * DRIFT),
    }
