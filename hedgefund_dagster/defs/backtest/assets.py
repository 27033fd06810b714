"""Backtest of a book as of a cut: net of costs, limits on, with baselines and placebos."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
from pathlib import Path

import dagster as dg
import numpy as np

from hedgefund_core import layout
from hedgefund_core.backtest.models_settings import PriorTrials
from hedgefund_core.risk.limits import Mandate
from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.defs.backtest.evaluate import INITIAL_CASH
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.backtest.run import Finished, run_backtest
from hedgefund_dagster.defs.backtest.sheet import SheetFacts, write_sheet
from hedgefund_dagster.defs.training.inputs import ResearchConfig, Shown, open_study, place_of
from hedgefund_dagster.defs.training.records import Figure, WalkRecord, read_record, read_scores, write_record
from hedgefund_dagster.metadata import OWNERS, sparkline
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.settings import SettingsResource

GROUP = "backtest"
SHOWN = (
    ("sharpe_ratio", "Sharpe ratio", ".2f"),
    ("annual_return", "return a year", ".1%"),
    ("volatility", "volatility", ".1%"),
    ("max_drawdown", "drawdown", ".1%"),
    ("beta", "beta", ".2f"),
    ("turnover", "turnover a year", ".1f"),
)
"""Figure, its name for people, and how it is written."""


class BacktestConfig(ResearchConfig):
    """A research run that also draws."""

    tear_sheet: bool = True
    """Write reports/tear_sheet_<book>.html for the champion's book on the judged sessions."""


def backtest_assets() -> list[dg.AssetsDefinition]:
    """One backtest asset a book."""
    return [_backtest(book) for book in BOOKS.values()]


def _backtest(book: Book) -> dg.AssetsDefinition:
    @dg.asset(
        key=[book.name, "backtest"],
        deps=[dg.AssetKey([book.name, "walk_forward"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"numpy", "mlflow"},
        tags={"book": book.name, "source": book.source},
        code_version="1",
        description=f"The {book.title}, after costs and with the mandate's limits: rule and challenger beside baselines and placebos.",
    )
    def backtest(
        context: dg.AssetExecutionContext,
        config: BacktestConfig,
        lake: LakeResource,
        settings: SettingsResource,
        models: ModelRegistryResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, opened = lake.open(), settings.open()
        study = open_study(store, opened, book, config)
        place = place_of(book, config, study.cut)
        walk = read_record(store, f"{place}/walk.json", WalkRecord)
        prior = opened.load("prior_trials", PriorTrials)
        done = run_backtest(study, walk, read_scores(store, place), store, prior, dagster_run_id=context.run.run_id)
        record, page = done.record, _page(store, book, study.mandate, done) if config.tear_sheet else "not drawn"
        write_record(store, f"{place}/backtest.json", record)
        registry = models.open()
        for name in record.books:
            registry.log_metrics(walk.of(name).run_id, _metrics(record, name))
        return dg.MaterializeResult(metadata={"place": place, "tear_sheet": page, **_metadata(record), **_plots(store, place, record)})

    return backtest


def _page(store: Lake, book: Book, mandate: Mandate, done: Finished) -> str:
    record, ground, manifest = done.record, done.ground, store.panel_manifest(book.source)
    name = f"{layout.REPORTS}/tear_sheet_{book.name}.html"
    facts = SheetFacts(
        title=f"{record.champion}: {book.title}",
        subtitle=f"backtest after costs, {record.judged_from} to {record.cut}, mandate {mandate.name}, fills at {record.fill}",
        facts={
            "Source": f"{book.source} ({manifest.price_kind}, {manifest.currency})",
            "Sessions judged": f"{record.years_judged:.1f} years",
            "Trials": f"{record.trials.trials}, {record.trials.effective:.0f} effective",
            "Data": ground.panel.data_version[:12],
        },
        trials=record.trials.trials,
        initial_cash=INITIAL_CASH,
    )
    result = done.champion.result.since(ground.first_judged)
    write_sheet(Path(str(store.root / name)), result, ground.panel, mandate, manifest, facts, done.band)
    return name


def _metrics(record: BacktestRecord, name: str) -> dict[str, float]:
    """Net figures for MLflow's comparison table, the interval of the Sharpe ratio beside it."""
    book = record.books[name]
    found = {f"net_{key}": figure.value for key, figure in book.judged.items()}
    sharpe = book.judged["sharpe_ratio"]
    found |= {"net_sharpe_ratio_low": sharpe.low, "net_sharpe_ratio_high": sharpe.high, "placebo_percentile": book.placebo_percentile}
    return {key: value for key, value in found.items() if value is not None}


def _metadata(record: BacktestRecord) -> Shown:
    rows = [_row(name, book.figures) for name, book in record.books.items()]
    rows += [_row(baseline.label, baseline.figures) for baseline in record.baselines.values()]
    champion = record.books[record.champion]
    return {
        "cut": record.cut,
        "fill": record.fill,
        "sessions": record.sessions,
        "trials": record.trials.trials,
        "trials_effective": round(record.trials.effective, 2),
        "placebo_percentile": dg.MetadataValue.float(round(champion.placebo_percentile or 0.0, 4)),
        "denied_orders": champion.denied,
        "stand_ins": champion.stand_ins,
        "books": dg.MetadataValue.md("\n".join(rows)),
    }


def _row(name: str, figures: dict[str, Figure]) -> str:
    """A line that wraps, while a table of this width is cut off at the edge of the page."""
    return f"- **{name}**: " + ", ".join(f"{words} {_cell(figures[key], form)}" for key, words, form in SHOWN if key in figures)


def _cell(figure: Figure, form: str) -> str:
    """A figure with its interval, if it has one; a zero carries no minus."""
    shown = ["-" if value is None else f"{value:z{form}}" for value in (figure.value, figure.low, figure.high)]
    return shown[0] if figure.low is None or figure.high is None else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _plots(store: Lake, place: str, record: BacktestRecord) -> Shown:
    arrays = store.read_arrays(f"{place}/backtest.npz")
    equity = {name: np.asarray(np.cumprod(1.0 + arrays[f"returns_{name}"].astype(np.float64)), dtype=np.float64) for name in record.books}
    return {f"equity_{name}": sparkline(values, f"equity of {name}, from 1") for name, values in equity.items()}
