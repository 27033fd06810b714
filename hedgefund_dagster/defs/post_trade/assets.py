"""What the executor did, from its journal: frames, fills, marks, and realized against promised."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
from pathlib import Path

import dagster as dg
import numpy as np

from hedgefund_core import layout
from hedgefund_core.backtest.parity import CAUSES
from hedgefund_dagster.defs.backtest.sheet import MINIMUM_SESSIONS, SheetFacts, write_sheet
from hedgefund_dagster.defs.post_trade import tables
from hedgefund_dagster.defs.post_trade.compare import compared
from hedgefund_dagster.defs.post_trade.realized import Realized, realized
from hedgefund_dagster.defs.post_trade.report import PostTradeRecord, post_trade_record
from hedgefund_dagster.defs.training.records import write_record
from hedgefund_dagster.defs.training.trials import TrialLedger
from hedgefund_dagster.metadata import OWNERS, sparkline
from hedgefund_dagster.resources.journal_reader import JournalReader, JournalReaderResource
from hedgefund_dagster.resources.lake import Lake, LakeResource

GROUP = "post_trade"
SPACE = "account"
TEAR_SHEETS = layout.REPORTS


class AccountConfig(dg.Config):
    """Which account; empty: the one last used."""

    account: str = ""


def _account(reader: JournalReader, config: AccountConfig) -> str:
    return config.account or reader.latest_account()


def _realized(reader: JournalReader, account: str) -> Realized:
    return realized(stored.frame for stored in reader.frames(account))


@dg.asset(
    key=[SPACE, "journal_frames"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"sqlite", "parquet"},
    code_version="1",
    description="Every frame of an account's journal, decoded; read only. The journal itself stays the truth.",
)
def journal_frames(config: AccountConfig, lake: LakeResource, journals: JournalReaderResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Frames as a table."""
    reader = journals.open()
    account = _account(reader, config)
    rows = tables.frame_rows(list(reader.frames(account)))
    digest = tables.write(lake.open(), account, "journal_frames", rows)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows.num_rows, "account": account, "sha256": digest})


@dg.asset(
    key=[SPACE, "fills"],
    deps=[dg.AssetKey([SPACE, "journal_frames"])],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"parquet"},
    code_version="1",
    description="Fills as journaled: price, quantity, commission as decimal text.",
)
def fills(config: AccountConfig, lake: LakeResource, journals: JournalReaderResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Fills as a table."""
    reader = journals.open()
    account = _account(reader, config)
    rows = tables.fill_rows(_realized(reader, account))
    digest = tables.write(lake.open(), account, "fills", rows)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows.num_rows, "account": account, "sha256": digest})


@dg.asset(
    key=[SPACE, "marks"],
    deps=[dg.AssetKey([SPACE, "journal_frames"])],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"parquet"},
    code_version="1",
    description="The account after each session: equity, exposure, drawdown, ex-ante risk.",
)
def marks(config: AccountConfig, lake: LakeResource, journals: JournalReaderResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Marks as a table."""
    reader = journals.open()
    account = _account(reader, config)
    done = _realized(reader, account)
    rows = tables.mark_rows(done)
    digest = tables.write(lake.open(), account, "marks", rows)
    plots = {
        "equity": sparkline(done.result.equity, "equity"),
        "drawdown": sparkline(np.array([-mark.drawdown for mark in done.fold.marks]), "drawdown"),
        "volatility": sparkline(
            np.array([np.nan if m.volatility is None else m.volatility for m in done.fold.marks]), "ex-ante volatility"
        ),
    }
    return dg.MaterializeResult(metadata={"dagster/row_count": rows.num_rows, "account": account, "sha256": digest, **plots})


@dg.asset(
    key=[SPACE, "post_trade_report"],
    deps=[dg.AssetKey([SPACE, "fills"]), dg.AssetKey([SPACE, "marks"])],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"html"},
    code_version="1",
    description="Realized against promised, costs, decision-to-fill drift, denials; a tear sheet of what was really traded.",
)
def post_trade_report(config: AccountConfig, lake: LakeResource, journals: JournalReaderResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The report and its page."""
    reader, store = journals.open(), lake.open()
    account = _account(reader, config)
    done = _realized(reader, account)
    record = post_trade_record(done)
    write_record(store, f"{layout.REPORTS}/post_trade_{account}.json", record)
    page = _page(store, done, record)
    lines = "\n".join(
        f"| {name} | {_number(one.promised)} | {_number(one.kept)} "
        f"| {'not measured' if one.kept is None else 'kept' if one.held else 'exceeded'} |"
        for name, one in record.promises.items()
    )
    return dg.MaterializeResult(
        metadata={
            "account": account,
            "sessions": record.sessions,
            "orders": record.orders,
            "fills": record.fills,
            "denied": record.denied,
            "tear_sheet": page,
            "promises": dg.MetadataValue.md("| promise | promised | worst or measured | |\n|---|---|---|---|\n" + lines),
        }
    )


def _page(store: Lake, done: Realized, record: PostTradeRecord) -> str:
    if record.sessions < MINIMUM_SESSIONS:
        return f"none: {record.sessions} sessions say too little"
    name = f"{layout.REPORTS}/tear_sheet_{done.account}.html"
    panel = store.read_panel(done.source).until(done.result.sessions[-1])
    facts = SheetFacts(
        title=f"Account {done.account}: what was really traded",
        subtitle=f"{done.source}, {record.first_session} to {record.last_session}, mandate {record.mandate}",
        facts={"Models": ", ".join(record.models), "Orders": str(record.orders), "Fills": str(record.fills), "Denied": str(record.denied)},
        trials=len(TrialLedger(store).lines()),
        initial_cash=done.result.initial_cash,
    )
    write_sheet(Path(str(store.root / name)), done.result, panel, done.mandate, store.panel_manifest(done.source), facts)
    return name


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@dg.asset(
    key=[SPACE, "parity"],
    deps=[dg.AssetKey([SPACE, "journal_frames"])],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    code_version="1",
    description="What was traded against the backtest of the same sessions: differences of decisions, orders, fills and profit by cause.",
)
def parity(config: AccountConfig, lake: LakeResource, journals: JournalReaderResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The comparison as a report; the same function is behind `executor parity`."""
    reader, store = journals.open(), lake.open()
    account = _account(reader, config)
    found = compared(reader, store, account)
    write_record(store, f"{layout.REPORTS}/parity_{account}.json", found)
    causes = {f"difference by {cause}": float(found.by_cause[cause]) for cause in CAUSES}
    differences = np.array([float(row.difference) for row in found.sessions])
    return dg.MaterializeResult(
        metadata={
            "account": account,
            "sessions": len(found.sessions),
            "findings": len(found.findings),
            "live_pnl": float(found.live_pnl),
            "backtest_pnl": float(found.backtest_pnl),
            **causes,
            "differences": sparkline(differences, "live less backtest"),
        }
    )


ASSETS = [journal_frames, fills, marks, post_trade_report, parity]
