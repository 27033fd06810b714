"""The backtest of a study: every trial once, the champion's rule and the chosen challengers in full."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hedgefund_core.backtest.baselines import equal_weight_targets
from hedgefund_core.backtest.models_settings import PriorTrials
from hedgefund_core.backtest.trials import summarise_trials
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.quant.bars import Floats
from hedgefund_dagster.defs.backtest.evaluate import INITIAL_CASH, Arena, Evaluated, arena, evaluate, placebos
from hedgefund_dagster.defs.backtest.records import BacktestRecord, BaselineRecord, BookRecord, TrialCount, book_record, figures, index_returns
from hedgefund_dagster.defs.training.records import Candidate, WalkRecord, finite, folder
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.defs.training.trials import TrialLedger, TrialLine
from hedgefund_dagster.progress import report
from hedgefund_dagster.resources.lake import Lake


def run_backtest(
    study: Study, walk: WalkRecord, scores: Sequence[Floats], lake: Lake, prior: PriorTrials, *, dagster_run_id: str = ""
) -> BacktestRecord:
    """Trade every candidate's scores, record trials, and leave the arrays in the lake."""
    ground = arena(study)
    books: dict[int, Evaluated] = {}
    for done, candidate in enumerate(walk.candidates):
        report("backtest", done, len(walk.candidates))
        books[candidate.number] = evaluate(ground, scores[candidate.number])
    report("backtest", len(walk.candidates), len(walk.candidates))
    trials = _count(study, walk, ground, books, lake, prior, dagster_run_id)
    chosen = [candidate for candidate in walk.candidates if candidate.chosen]
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {"sessions": ground.panel.sessions}
    records = {}
    for candidate in chosen:
        records[candidate.name] = _full(study, ground, candidate, scores[candidate.number], books[candidate.number], arrays)
    lake.write_arrays(f"{folder(walk.book, walk.mandate, walk.cut)}/backtest.npz", arrays)
    result = books[chosen[0].number].result
    return BacktestRecord(
        book=walk.book,
        mandate=walk.mandate,
        cut=walk.cut,
        fill=str(result.fill),
        sessions=ground.panel.shape[0] - ground.first_tested,
        first_session=str(ground.panel.sessions[ground.first_tested]),
        judged_from=str(ground.panel.sessions[ground.first_judged]),
        years_judged=(ground.panel.shape[0] - ground.first_judged) / ground.panel.sessions_per_year,
        champion=study.settings.rule,
        challenger=walk.challenger.name,
        books=records,
        baselines=_baselines(ground),
        trials=trials,
    )


def _full(
    study: Study,
    ground: Arena,
    candidate: Candidate,
    scores: Floats,
    book: Evaluated,
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]],
) -> BookRecord:
    """Costs doubled and the placebo band, for the books the gate may judge."""
    report(f"placebos {candidate.name}", 0, 1)
    double = evaluate(ground, scores, cost_factor=2.0)
    band = placebos(ground, book, seed=study.settings.seed, draws=study.settings.placebo_draws, start=ground.first_judged)
    arrays[f"returns_{candidate.name}"] = book.result.returns
    arrays[f"double_{candidate.name}"] = double.result.returns
    arrays[f"weights_{candidate.name}"] = book.result.weights
    arrays[f"traded_{candidate.name}"] = book.result.traded
    if band is not None:
        arrays[f"band_{candidate.name}"] = band.band
        arrays[f"band_first_{candidate.name}"] = np.array([band.first])
    report(f"placebos {candidate.name}", 1, 1)
    return book_record(candidate.name, candidate.number, ground, book, double, band)


def _count(
    study: Study, walk: WalkRecord, ground: Arena, books: dict[int, Evaluated], lake: Lake, prior: PriorTrials, run_id: str
) -> TrialCount:
    ledger, new = TrialLedger(lake), 0
    tested = slice(ground.first_tested, None)
    for candidate in walk.candidates:
        line = TrialLine(
            key=candidate.trial,
            book=walk.book,
            mandate=walk.mandate,
            cut=walk.cut,
            dagster_run_id=run_id,
            identity=candidate.identity,
        )
        new += ledger.record(line, books[candidate.number].result.returns[tested], ground.panel.sessions[tested])
    baseline = next(one for one in walk.candidates if one.name == study.settings.rule)
    sessions = ground.panel.sessions[tested].tolist()
    paired = dict(zip((np.datetime64(day) for day in sessions), books[baseline.number].result.returns[tested].tolist(), strict=True))
    summary = summarise_trials(
        ledger.outcomes(walk.book, walk.mandate),
        baseline=paired,
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
