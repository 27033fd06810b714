"""Statements under the detector of unit errors: findings go to the quarantine of fundamentals."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.quant.defects.filings import FactDefect, Facts, find_fact_defects
from hedgefund_core.schemas import FUNDAMENTALS, QUARANTINE
from hedgefund_dagster.defs.validation.rows import evidence_text
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.lake_files import arrow_schema, column_texts
from hedgefund_dagster.resources.lake_quarantine import QuarantineStore

CHECK = "units_agree"
SHOWN = 50


def facts_check(key: dg.AssetKey, source: str) -> dg.AssetChecksDefinition:
    """Facts a hundred times their neighbours, with an odd sign or unit: held or noted in the quarantine of fundamentals."""

    @dg.asset_check(
        asset=key,
        name=CHECK,
        description="Warns where a fact is in another unit than its neighbours and peers (make quarantine TABLE=fundamentals).",
    )
    def units_agree(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        try:
            rows = store.versions.read(FUNDAMENTALS, source)
        except DataUnavailable as error:
            return dg.AssetCheckResult(passed=True, description=f"nothing to judge: {error.message}", metadata={"rows": 0})
        found = find_fact_defects(facts_of(rows))
        kept = QuarantineStore(store.root, FUNDAMENTALS.name)
        new = kept.add(finding_rows(found, rows, source))
        held = sum(item.severity == "error" for item in found)
        lines = "\n".join(f"| {rows.column('symbol')[item.row]} | {item.rule} | {item.reason} |" for item in found[:SHOWN])
        return dg.AssetCheckResult(
            passed=not held,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "rows": rows.num_rows,
                "held": held,
                "noted": len(found) - held,
                "findings_new": new,
                "facts": dg.MetadataValue.md(f"| symbol | rule | reason |\n|---|---|---|\n{lines}" if lines else "none"),
            },
        )

    return units_agree


def facts_of(rows: pa.Table) -> Facts:
    """Rows of the table fundamentals column-wise."""
    ends = rows.column("period_end").to_numpy().astype("datetime64[D]")
    starts = rows.column("period_start").to_numpy().astype("datetime64[D]")
    days = np.where(np.isnat(starts), 0, (ends - starts).astype(np.int64))
    return Facts(
        entity=column_texts(rows, "symbol"),
        concept=column_texts(rows, "concept"),
        unit=column_texts(rows, "unit"),
        filing=column_texts(rows, "accession"),
        days=days.astype(np.int64),
        period_end=ends,
        known_at=rows.column("known_at").cast(pa.timestamp("us")).to_numpy(),
        value=rows.column("value").to_numpy().astype(np.float64),
    )


def finding_rows(found: list[FactDefect], rows: pa.Table, source: str) -> pa.Table:
    """Findings as rows of the quarantine; the instrument is the filer and the name of the fact."""
    taken = rows.take(pa.array([item.row for item in found], pa.int64()))
    known = rows.take(pa.array([item.known_row for item in found], pa.int64()))
    names = zip(*(taken.column(name).to_pylist() for name in ("cik", "concept", "unit", "period_end")), strict=True)
    columns = {
        "symbol": taken.column("symbol"),
        "ts": taken.column("ts"),
        "known_at": known.column("known_at"),
        "rule": pa.array([item.rule for item in found], pa.string()),
        "severity": pa.array([str(item.severity) for item in found], pa.string()),
        "reason": pa.array([item.reason for item in found], pa.string()),
        "source": pa.repeat(pa.scalar(source), len(found)),
        "value": taken.column("value"),
        "released": pa.array([item.severity != "error" for item in found], pa.bool_()),
        "instrument": pa.array([f"{cik}/{concept}/{unit}/{end}" for cik, concept, unit, end in names], pa.string()),
        "evidence": pa.array([evidence_text(item.evidence) for item in found], pa.string()),
    }
    return pa.table(columns, schema=arrow_schema(QUARANTINE))
