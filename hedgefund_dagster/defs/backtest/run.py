"""The backtest of a study: every trial once, the champion's rule and the chosen challengers in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.baselines import equal_weight_targets
from hedgefund_core.backtest.fills import choose_fill
from hedgefund_core.backtest.models_settings import PriorTrials
from hedgefund_core.backtest.placebo import PlaceboResult
from hedgefund_core.backtest.trials import TrialRecord, summarise_trials
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.quant.bars import Floats
from hedgefund_dagster.defs.backtest.evaluate import (
    INITIAL_CASH,
    Arena,
    Evaluated,
    arena,
    double_cost_returns,
    evaluate,
    placebos,
    simple_returns,
)
from hedgefund_dagster.defs.backtest.look_ahead import trade_arrays
from hedgefund_dagster.defs.backtest.records import (
    BacktestRecord,
    BaselineRecord,
    BookRecord,
    TrialCount,
    book_record,
    figures,
    index_returns,
)
from hedgefund_dagster.defs.training.records import Candidate, WalkRecord, finite, folder
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.defs.training.trials import TrialLedger, TrialLine
from hedgefund_dagster.progress import report
from hedgefund_dagster.resources.lake import Lake

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished backtest: the record that is stored, and the champion's book for its tear sheet."""

    record: BacktestRecord
    ground: Arena
    champion: Evaluated
    band: PlaceboResult | None


def run_backtest(
    study: Study, walk: WalkRecord, scores: Sequence[Floats], lake: Lake, prior: PriorTrials, *, dagster_run_id: str = ""
) -> Finished:
    """Trade every candidate's scores, record trials, and leave the arrays in the lake."""
    ground = arena(study)
    trials = _count(study, walk, ground, scores, lake, prior, dagster_run_id)
    traded = [
        candidate for candidate in walk.candidates if candidate.chosen and (candidate.challenger or candidate.name == study.settings.rule)
    ]
    arrays: Arrays = {"sessions": ground.panel.sessions}
    books: dict[str, Evaluated] = {}
    bands: dict[str, PlaceboResult | None] = {}
    records: dict[str, BookRecord] = {}
    for done, candidate in enumerate(traded):
        report(f"backtest {candidate.name}", done, len(traded))
        books[candidate.name] = book = evaluate(ground, scores[candidate.number])
        bands[candidate.name] = band = placebos(
            ground, book, seed=study.settings.seed, draws=study.settings.placebo_draws, start=ground.first_judged
        )
        records[candidate.name] = _full(ground, candidate, book, band, arrays)
    report("backtest", len(traded), len(traded))
    lake.write_arrays(f"{folder(walk.book, walk.mandate, walk.cut)}/backtest.npz", arrays)
    record = BacktestRecord(
        book=walk.book,
        mandate=walk.mandate,
        cut=walk.cut,
        fill=str(choose_fill(ground.panel, "auto")),
        sessions=ground.panel.shape[0] - ground.first_tested,
        first_session=str(ground.panel.sessions[ground.first_tested]),
        judged_from=str(ground.panel.sessions[ground.first_judged]),
        judged_sessions=ground.panel.shape[0] - ground.first_judged,
        years_judged=(ground.panel.shape[0] - ground.first_judged) / ground.panel.sessions_per_year,
        champion=study.settings.rule,
        challenger=walk.challenger.name if walk.has_challenger else "",
        books=records,
        baselines=_baselines(ground),
        trials=trials,
    )
    rule = study.settings.rule
    return Finished(record=record, ground=ground, champion=books[rule], band=bands[rule])


def _full(ground: Arena, candidate: Candidate, book: Evaluated, band: PlaceboResult | None, arrays: Arrays) -> BookRecord:
    """Doubled costs and the placebo band beside the book itself."""
    name, double = candidate.name, double_cost_returns(book)
    arrays[f"returns_{name}"] = book.result.returns
    arrays[f"double_{name}"] = double
    arrays[f"weights_{name}"] = book.result.weights
    arrays[f"traded_{name}"] = book.result.traded
    arrays.update(trade_arrays(name, book.result))
    if band is not None:
        arrays[f"band_{name}"] = band.band
        arrays[f"band_first_{name}"] = np.array([band.first])
    return book_record(name, candidate.number, ground, book, double, band)


def _count(
    study: Study, walk: WalkRecord, ground: Arena, scores: Sequence[Floats], lake: Lake, prior: PriorTrials, run_id: str
) -> TrialCount:
    """Record every trial in one accounting, and count them against the declared baseline."""
    ledger, new = TrialLedger(lake), 0
    sessions = ground.panel.sessions[ground.first_tested :]
    baseline: TrialRecord | None = None
    for candidate in walk.candidates:
        line = TrialLine(
            key=candidate.trial, book=walk.book, mandate=walk.mandate, cut=walk.cut, dagster_run_id=run_id, identity=candidate.identity
        )
        returns = simple_returns(ground, scores[candidate.number])[ground.first_tested :]
        new += ledger.record(line, returns, sessions)
        if candidate.name == study.settings.rule:
            baseline = TrialRecord(key=candidate.trial, returns=returns, sessions=sessions)
    summary = summarise_trials(
        ledger.outcomes(walk.book, walk.mandate, sessions),
        baseline=baseline,
        prior_trials=prior.count,
        sessions_per_year=ground.panel.sessions_per_year,
    )
    return TrialCount(
        trials=summary.n,
        effective=summary.n_effective,
        new=new,
        sharpes=tuple(float(value) for value in summary.sharpes),
        highest_correlation=finite(summary.highest_correlation),
    )


def _baselines(ground: Arena) -> dict[str, BaselineRecord]:
    """Cash earns nothing here and needs no line; the rule has its own record."""
    panel, start = ground.panel, ground.first_tested
    held = run_target_weights(
        panel, equal_weight_targets(panel, start=ground.start), costs=ground.risk.mandate.costs, fill="auto", initial_cash=INITIAL_CASH
    )
    found = {
        "equal_weight": BaselineRecord(
            label="equal weight of the same names, weekly, after costs", figures=figures(ground, held.returns, held.traded, start=start)
        )
    }
    if panel.benchmark is not None:
        label = f"{panel.benchmark_name}, without dividends and costs"
        found["index"] = BaselineRecord(label=label, figures=figures(ground, index_returns(panel.benchmark), None, start=start))
    return found
