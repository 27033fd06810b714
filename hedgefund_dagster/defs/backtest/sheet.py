"""The tear sheet of a book, researched or really traded: what a person reads, in the report order of the house."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hedgefund_core.backtest.baselines import Baseline, all_baselines
from hedgefund_core.backtest.conclusions import Evidence, conclusions
from hedgefund_core.backtest.placebo import PlaceboResult
from hedgefund_core.backtest.report import promised_against_kept
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.stress import StressLoss, stress_book
from hedgefund_core.backtest.targets import mission_probabilities
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features.kernels import returns_of
from hedgefund_core.quant.measures import sharpe_ratio
from hedgefund_core.quant.portfolio.scaling import betas, market_returns
from hedgefund_core.risk.limits import Mandate
from hedgefund_dagster.defs.backtest.records import index_returns
from hedgefund_dagster.resources.lake import PanelManifest
from hedgefund_dagster.tear_sheet import Verdicts, tear_sheet_data, write_tear_sheet

DRAWS = 300
MINIMUM_SESSIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetFacts:
    """What the page says besides the numbers."""

    title: str
    subtitle: str
    facts: Mapping[str, str]
    trials: int
    initial_cash: float


def write_sheet(
    path: Path,
    result: BacktestResult,
    panel: Panel,
    mandate: Mandate,
    manifest: PanelManifest,
    facts: SheetFacts,
    placebo: PlaceboResult | None = None,
) -> None:
    """Write the page of ``result``, whose sessions are the last ones of ``panel``; a record under 20 sessions has no page."""
    start = int(np.searchsorted(panel.sessions, result.sessions[0]))
    baselines = all_baselines(panel, mandate=mandate, costs=mandate.costs, fill="auto", initial_cash=facts.initial_cash, start=start)
    years = panel.sessions_per_year
    promises = promised_against_kept(result, mandate)
    level = None if result.benchmark is None else index_returns(result.benchmark)
    chances = mission_probabilities(result.returns, benchmark=level, sessions_per_year=years, draws=DRAWS)
    evidence = Evidence(
        result=result,
        measures=result.measures(),
        promises=promises,
        chances=chances,
        baseline_sharpes=_sharpes(baselines, years),
        placebo_percentile=None if placebo is None else placebo.percentile,
        trials=facts.trials,
        biases=tuple(f"{name}: {direction}" for name, direction in manifest.biases),
        not_evaluable=manifest.not_evaluable,
    )
    verdicts = Verdicts(
        sections=conclusions(evidence),
        promises=promises,
        chances=chances,
        stresses=_stresses(result.weights[-1], panel, mandate),
        facts=facts.facts,
    )
    data = tear_sheet_data(result, mandate, verdicts, title=facts.title, subtitle=facts.subtitle, baselines=baselines, placebo=placebo)
    write_tear_sheet(path, data)


def _sharpes(baselines: Mapping[str, Baseline], years: float) -> dict[str, float]:
    moving = {one.label: one for one in baselines.values() if float(np.std(one.returns)) > 0.0}
    return {label: sharpe_ratio(one.returns, sessions_per_year=years).value for label, one in moving.items()}


def _stresses(weights: Floats, panel: Panel, mandate: Mandate) -> tuple[StressLoss, ...]:
    returns = returns_of(panel)[1:]
    level = None if panel.benchmark is None else index_returns(panel.benchmark)[1:]
    window = slice(-mandate.beta_window, None)
    return stress_book(
        weights,
        returns,
        panel.sessions[1:],
        betas(returns[window], market_returns(returns, level)[window]),
        decay=mandate.volatility_decay,
        sessions_per_year=panel.sessions_per_year,
    )
