"""What a backtest leaves: figures of every book with their intervals, the trial count, and the arrays the gate judges."""

from __future__ import annotations

import msgspec
import numpy as np

from hedgefund_core.backtest.placebo import PlaceboResult
from hedgefund_core.backtest.trials import TrialSummary
from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.measures import Measure, Track, all_measures, sharpe_ratio
from hedgefund_dagster.defs.backtest.evaluate import Arena, Evaluated
from hedgefund_dagster.defs.training.records import Figure, figure, finite


class BookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One book: ``figures`` over all sessions out of sample, ``judged`` over those the gate may see."""

    name: str
    number: int
    figures: dict[str, Figure]
    judged: dict[str, Figure]
    double_cost_return: float | None
    """Annual mean with every cost doubled, over the judged sessions."""
    placebo_percentile: float | None
    placebo_draws: int
    stand_ins: int
    denied: int
    capped_share: float | None


class BaselineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison on the same sessions."""

    label: str
    figures: dict[str, Figure]


class TrialCount(msgspec.Struct, frozen=True, kw_only=True):
    """The search so far."""

    trials: int
    effective: float
    new: int
    sharpes: tuple[float, ...]
    highest_correlation: float | None

    def summary(self) -> TrialSummary:
        """As the gate reads it."""
        return TrialSummary(
            n=self.trials,
            n_effective=self.effective,
            sharpes=np.array(self.sharpes, dtype=np.float64),
            highest_correlation=np.nan if self.highest_correlation is None else self.highest_correlation,
        )


class BacktestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest of a study."""

    book: str
    mandate: str
    cut: str
    fill: str
    sessions: int
    first_session: str
    judged_from: str
    judged_sessions: int
    years_judged: float
    champion: str
    challenger: str
    books: dict[str, BookRecord]
    baselines: dict[str, BaselineRecord]
    trials: TrialCount


def book_record(name: str, number: int, ground: Arena, book: Evaluated, double: Floats, band: PlaceboResult | None) -> BookRecord:
    """Figures of a book; both series start where the first decision could earn."""
    result, judged = book.result, slice(ground.first_judged, None)
    trace = result.trace
    decided = 0 if trace is None else int(trace.decided.sum())
    return BookRecord(
        name=name,
        number=number,
        figures=figures(ground, result.returns, result.traded, start=ground.first_tested),
        judged=figures(ground, result.returns, result.traded, start=ground.first_judged),
        double_cost_return=finite(float(double[judged].mean()) * ground.panel.sessions_per_year),
        placebo_percentile=None if band is None else band.percentile,
        placebo_draws=0 if band is None else band.draws,
        stand_ins=result.stand_ins,
        denied=len(result.denied),
        capped_share=None if trace is None or not decided else float((trace.capped & trace.decided).sum()) / decided,
    )


def figures(ground: Arena, returns: Floats, traded: Floats | None, *, start: int) -> dict[str, Figure]:
    """Every measure of returns on the arena's sessions from ``start``."""
    return {name: figure(value) for name, value in measures(ground, returns, traded, start=start).items()}


def measures(ground: Arena, returns: Floats, traded: Floats | None, *, start: int) -> dict[str, Measure]:
    """The measures themselves."""
    panel, rows = ground.panel, slice(start, None)
    track = Track(
        returns=returns[rows],
        sessions=panel.sessions[rows],
        sessions_per_year=panel.sessions_per_year,
        benchmark=None if panel.benchmark is None else index_returns(panel.benchmark)[rows],
        traded=None if traded is None else traded[rows],
    )
    if len(track.returns) < 3:
        return {"sharpe_ratio": sharpe_ratio(np.zeros(3), sessions_per_year=panel.sessions_per_year)}
    return all_measures(track)


def index_returns(level: Floats) -> Floats:
    """Returns of a benchmark's level, the first 0; a missing level counts as unchanged."""
    known = np.maximum.accumulate(np.where(np.isfinite(level), np.arange(len(level)), 0))
    filled = level[known]
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.concatenate([[0.0], filled[1:] / filled[:-1] - 1.0])
    return np.where(np.isfinite(moves), moves, 0.0)
