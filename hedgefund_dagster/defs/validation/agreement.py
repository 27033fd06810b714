"""Two sources of the same bars: whenever another source of the same kind of price holds common symbols and sessions, they are compared."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa

from hedgefund_core.configuration import SourcesSettings
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.bars import FIELDS, Panel, PriceKind
from hedgefund_core.quant.defects.defect import Defect
from hedgefund_core.quant.defects.rows import panel_of_rows
from hedgefund_core.quant.defects.sources import find_disagreements
from hedgefund_core.schemas import BARS, QUARANTINE, VALIDATED_BARS
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.defs.validation.rows import evidence_text
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.lake_files import arrow_schema, column_texts
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.source import SourceFacts

CHECK = "sources_agree"
SHOWN = 50


def agreement_check(facts: SourceFacts) -> dg.AssetChecksDefinition:
    """Warns of bars in which another source of the same kind of price disagrees; which of the two is odd stands in the reason."""

    @dg.asset_check(
        asset=dg.AssetKey([facts.name, VALIDATED_BARS.name]),
        name=CHECK,
        description="Warns where another source of the same kind of price holds the same bars and disagrees by more than half a per cent.",
    )
    def sources_agree(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        mine = store.read_table(VALIDATED_BARS, facts.name)
        compared, findings = [], arrow_schema(QUARANTINE).empty_table()
        for other in sources_of_kind(facts.price_kind):
            found = None if other == facts.name else disagreements(store, facts, mine, other)
            if found is not None:
                compared.append(other)
                findings = pa.concat_tables([findings, found])
        new = store.quarantine.add(findings)
        lines = "\n".join(f"| {f['symbol']} | {f['ts']:%Y-%m-%d} | {f['reason']} |" for f in findings.slice(0, SHOWN).to_pylist())
        return dg.AssetCheckResult(
            passed=findings.num_rows == 0,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "compared_with": ", ".join(compared) or "no other source holds these bars",
                "bars_that_differ": findings.num_rows,
                "findings_new": new,
                "rows": dg.MetadataValue.md(f"| symbol | session | reason |\n|---|---|---|\n{lines}" if lines else "none"),
            },
        )

    return sources_agree


def sources_of_kind(kind: PriceKind) -> list[str]:
    """Names under which bars of that kind of price may be stored: kinds never mix."""
    own = [facts.name for facts in all_facts() if facts.price_kind is kind]
    vendors = [open_vendor(name, SourcesSettings()).facts for name in VENDORS]
    sets = [(d.stored_as or v.name) for v in vendors for d in v.datasets if d.table is BARS and d.price_kind is kind]
    return list(dict.fromkeys([*own, *sets]))


def disagreements(store: Lake, facts: SourceFacts, mine: pa.Table, other: str) -> pa.Table | None:
    """Findings against another source, as notes for the quarantine; None where the two have no bar in common."""
    try:
        theirs = store.read_bars(other)
    except DataUnavailable:
        return None
    common = set(column_texts(mine, "symbol").tolist()) & set(column_texts(theirs, "symbol").tolist())
    if not common:
        return None
    try:
        left, right = (_panel(rows, name, facts.price_kind, common) for rows, name in ((mine, facts.name), (theirs, other)))
        found = find_disagreements(left, right)
    except DataInvalid:  # no session in common, or rows no panel can hold: their own validation speaks of those
        return None
    return _finding_rows(found, mine, facts.name)


def _panel(rows: pa.Table, source: str, kind: PriceKind, symbols: set[str]) -> Panel:
    """The bars of some symbols; of rows that repeat a key, the first."""
    symbol, session = column_texts(rows, "symbol"), rows.column("session").to_numpy().astype("datetime64[D]")
    kept = np.isin(symbol, list(symbols))
    kept[1:] &= (symbol[1:] != symbol[:-1]) | (session[1:] != session[:-1])
    fields = {name: rows.column(name).to_numpy().astype(np.float64)[kept] for name in FIELDS}
    panel = panel_of_rows(symbol[kept], session[kept], fields, price_kind=kind, tick=None)
    return Panel(
        sessions=panel.sessions,
        symbols=panel.symbols,
        price_kind=kind,
        source=source,
        **{name: panel.field(name) for name in FIELDS},  # type: ignore[arg-type]
    )


def _finding_rows(found: list[Defect], mine: pa.Table, source: str) -> pa.Table:
    """Disagreements as notes: a person decides which source is right."""
    keys = zip(column_texts(mine, "symbol").tolist(), mine.column("session").to_pylist(), strict=True)
    place = {key: number for number, key in enumerate(keys)}
    rows = mine.take(pa.array([place[item.symbol, item.session.astype(object)] for item in found], pa.int64()))
    columns = {
        "symbol": rows.column("symbol"),
        "ts": rows.column("ts"),
        "known_at": rows.column("known_at"),
        "rule": pa.repeat(pa.scalar("sources_disagree"), len(found)),
        "severity": pa.repeat(pa.scalar("warning"), len(found)),
        "reason": pa.array([item.reason for item in found], pa.string()),
        "source": pa.repeat(pa.scalar(source), len(found)),
        "value": rows.column("close"),
        "released": pa.repeat(pa.scalar(value=True), len(found)),
        "instrument": rows.column("symbol"),
        "evidence": pa.array([evidence_text(item.evidence) for item in found], pa.string()),
    }
    return pa.table(columns, schema=arrow_schema(QUARANTINE))
