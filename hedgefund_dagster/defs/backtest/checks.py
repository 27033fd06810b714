"""A backtest's own distrust: implausible results stop, stale predictions and costs that eat everything are said."""

# No `from __future__ import annotations`: Dagster looks at the annotation of the context itself, not at its text.
import dagster as dg
import numpy as np

from hedgefund_core.quant.measures import implausible
from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.defs.backtest.look_ahead import same_bar_fills
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.look_ahead import audited
from hedgefund_dagster.defs.training.checks import latest_place
from hedgefund_dagster.defs.training.records import read_record
from hedgefund_dagster.resources.lake import LakeResource

NO_SAME_BAR = "no_same_bar_fill"


def backtest_checks() -> list[dg.AssetChecksDefinition]:
    """Checks of every book's backtest."""
    return [check for book in BOOKS.values() for check in (_plausible(book), _double_cost(book), _fills(book))]


def _plausible(book: Book) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([book.name, "backtest"])

    @dg.asset_check(
        asset=key, name="sharpe_is_plausible", blocking=True, description="An annual net Sharpe ratio above 3 stops until a person looked."
    )
    def sharpe_is_plausible(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        record = read_record(lake.open(), f"{latest_place(context, key)}/backtest.json", BacktestRecord)
        sharpes = {name: one.figures["sharpe_ratio"].value for name, one in record.books.items()}
        bad = [f"{name}: {value:.1f}" for name, value in sharpes.items() if value is not None and implausible(value)]
        words = "; ".join(bad) or "no Sharpe ratio is too good to be true"
        return dg.AssetCheckResult(
            passed=not bad, severity=dg.AssetCheckSeverity.ERROR, description=words, metadata={"books": len(sharpes)}
        )

    return sharpe_is_plausible


def _double_cost(book: Book) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([book.name, "backtest"])

    @dg.asset_check(asset=key, name="positive_at_double_cost", description="A book that lives only at today's costs is said to be one.")
    def positive_at_double_cost(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        record = read_record(lake.open(), f"{latest_place(context, key)}/backtest.json", BacktestRecord)
        returns = {name: one.double_cost_return for name, one in record.books.items()}
        bad = [f"{name}: {value:.1%} a year" for name, value in returns.items() if value is not None and value <= 0.0]
        words = "; ".join(bad) or "every book earns something at twice its costs"
        return dg.AssetCheckResult(passed=not bad, severity=dg.AssetCheckSeverity.WARN, description=words)

    return positive_at_double_cost


def _fills(book: Book) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([book.name, "backtest"])

    @dg.asset_check(
        asset=key,
        name=NO_SAME_BAR,
        blocking=True,
        description="Every fill answers an order of the session before, at the price of its own session's auction.",
    )
    def no_same_bar_fill(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        place = latest_place(context, key)
        record, arrays = read_record(store, f"{place}/backtest.json", BacktestRecord), store.read_arrays(f"{place}/backtest.npz")
        whole, sessions = store.read_panel(book.source), arrays["sessions"].astype("datetime64[D]")
        first = int(np.searchsorted(whole.sessions, sessions[0]))
        panel = whole.rows(first, first + len(sessions))
        trades = [(arrays[f"fills_{name}"].astype(np.float64), arrays[f"orders_{name}"].astype(np.float64)) for name in record.books]
        findings = [finding for fills, orders in trades for finding in same_bar_fills(panel, fills, orders)]
        return audited(findings, f"{sum(len(fills) for fills, _ in trades)} fills, each a session after its decision")

    return no_same_bar_fill
