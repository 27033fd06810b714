"""The journal against itself: books reconciled, every fill of a known order."""

# No `from __future__ import annotations`: Dagster looks at the annotation of the context itself, not at its text.
from collections import Counter

import dagster as dg

from hedgefund_core import layout
from hedgefund_core.backtest.parity import Parity
from hedgefund_dagster.defs.post_trade.realized import realized
from hedgefund_dagster.defs.training.records import read_record
from hedgefund_dagster.resources.journal_reader import JournalReaderResource
from hedgefund_dagster.resources.lake import LakeResource


@dg.asset_check(
    asset=dg.AssetKey(["account", "journal_frames"]),
    name="books_are_reconciled",
    description="Every comparison with the broker's books that the executor journaled found no difference.",
)
def books_are_reconciled(context: dg.AssetCheckExecutionContext, journals: JournalReaderResource) -> dg.AssetCheckResult:
    """Reads the account of the latest materialization."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey(["account", "journal_frames"]))
    found = None if event is None or event.asset_materialization is None else event.asset_materialization.metadata.get("account")
    reader = journals.open()
    done = realized(stored.frame for stored in reader.frames(str(found.value) if found else reader.latest_account()))
    bad = [one.session for one in done.fold.reconciled if not one.ok]
    words = f"differences at {', '.join(bad[:5])}" if bad else f"{len(done.fold.reconciled)} comparisons, no difference"
    return dg.AssetCheckResult(passed=not bad, severity=dg.AssetCheckSeverity.ERROR, description=words)


@dg.asset_check(
    asset=dg.AssetKey(["account", "parity"]),
    name="live_equals_backtest",
    description="Nothing that was traded differs from the backtest of the same session by model, decision or data; costs and fills may.",
)
def live_equals_backtest(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, journals: JournalReaderResource
) -> dg.AssetCheckResult:
    """Reads the report of the latest materialization; a live broker's fills and fees differ by nature and only warn."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey(["account", "parity"]))
    found = None if event is None or event.asset_materialization is None else event.asset_materialization.metadata.get("account")
    account = str(found.value) if found else journals.open().latest_account()
    report = read_record(lake.open(), f"{layout.REPORTS}/parity_{account}.json", Parity)
    causes = Counter(finding.cause for finding in report.findings)
    words = ", ".join(f"{cause}: {count}" for cause, count in sorted(causes.items())) or f"{len(report.sessions)} sessions, nothing differs"
    severe = any(causes[cause] for cause in ("data", "model", "decision"))
    severity = dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=report.ok, severity=severity, description=words)


CHECKS = [books_are_reconciled, live_equals_backtest]
