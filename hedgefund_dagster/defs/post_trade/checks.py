"""The journal against itself: books reconciled, every fill of a known order."""

# No `from __future__ import annotations`: Dagster looks at the annotation of the context itself, not at its text.
import dagster as dg

from hedgefund_dagster.defs.post_trade.realized import realized
from hedgefund_dagster.resources.journal_reader import JournalReaderResource


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


CHECKS = [books_are_reconciled]
