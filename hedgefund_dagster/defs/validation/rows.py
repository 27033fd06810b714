"""Between the bar table and the pure row rules: columns in, valid rows and findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bar_rules import ERROR, BarColumns, Finding, unit_breaks
from hedgefund_core.quant.defects.rows import check_bars
from hedgefund_core.quant.panel_build import LongActions
from hedgefund_core.schemas import QUARANTINE
from hedgefund_dagster.resources.lake_files import arrow_schema, column_texts
from hedgefund_dagster.sources.calendars import session_closes
from hedgefund_dagster.sources.source import Partitioning, RawPayload, Source, SourceFacts

BAD_ROWS_OF_TABLE = 0.01
BAD_ROWS_OF_SYMBOL = 0.20
"""Beyond these shares the table is wrong, not its rows (contracts: rows and tables)."""

_DAYS = 1 << 32
"""More days than any calendar has."""

Released = AbstractSet[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What validation found: rows to go on with, findings for the quarantine, and what is wrong with the table as a whole."""

    valid: pa.Table
    findings: pa.Table
    rows: int
    held: int
    by_rule: dict[str, int]
    table_errors: tuple[str, ...]


def validate_rows(
    rows: pa.Table,
    facts: SourceFacts,
    *,
    today: np.datetime64,
    released: Released = frozenset(),
    actions: LongActions | None = None,
) -> Validation:
    """Apply every row rule and detector; rows with an error that no person released are held back.

    ``actions``: stated splits and dividends; they explain jumps, and a split that is stated must show in a raw price.
    """
    if rows.num_rows == 0:
        empty = arrow_schema(QUARANTINE).empty_table()
        return Validation(valid=rows, findings=empty, rows=0, held=0, by_rule={}, table_errors=("the table is empty",))
    columns = bar_columns(rows, facts, today)
    findings = check_bars(columns, facts.price_kind, actions=actions)
    table = _finding_rows(findings, rows, facts, released)
    held = np.zeros(rows.num_rows, dtype=bool)
    let_in = table.column("released").to_pylist()
    held[[f.row for f, free in zip(findings, let_in, strict=True) if f.severity == ERROR and not free]] = True
    return Validation(
        valid=rows.filter(pa.array(~held)),
        findings=table,
        rows=rows.num_rows,
        held=int(held.sum()),
        by_rule=dict(sorted(Counter(f.rule for f in findings).items())),
        table_errors=_table_errors(columns, held),
    )


def refuse_bad_table(result: Validation, source: str) -> None:
    """Raise DataInvalid if the table as a whole is wrong: what depends on it must not run."""
    if result.table_errors:
        shown = "; ".join(result.table_errors[:5])
        message = f"bars of {source} are refused: {shown}"
        raise DataInvalid(message, mend="look at data/processed/quarantine/bars.parquet for each row's reason, and correct the source")


def bar_columns(rows: pa.Table, facts: SourceFacts, today: np.datetime64) -> BarColumns:
    """Numpy columns of rows that are sorted by (symbol, session, source_row)."""
    session = rows.column("session").to_numpy().astype("datetime64[D]")
    is_session, _ = session_closes(facts.calendar, session, facts.timezone)
    return BarColumns(
        symbol=column_texts(rows, "symbol"),
        session=session,
        fields={name: rows.column(name).to_numpy().astype(np.float64) for name in facts.fields},
        raw=column_texts(rows, "raw_sha256"),
        source_row=rows.column("source_row").to_numpy(),
        is_session=is_session,
        today=today,
        tick=facts.tick,
    )


def _table_errors(columns: BarColumns, held: NDArray[np.bool_]) -> tuple[str, ...]:
    """Whole-table faults: too many bad rows, a symbol mostly bad, a lasting change of scale."""
    errors = []
    if held.mean() > BAD_ROWS_OF_TABLE:
        errors.append(f"{int(held.sum())} of {len(held)} rows are bad ({held.mean():.1%} > {BAD_ROWS_OF_TABLE:.0%})")
    symbols, inverse = np.unique(columns.symbol, return_inverse=True)
    share = np.bincount(inverse, weights=held) / np.bincount(inverse)
    bad = np.flatnonzero(share > BAD_ROWS_OF_SYMBOL)
    errors.extend(f"{share[i]:.0%} of the rows of {symbols[i]} are bad (> {BAD_ROWS_OF_SYMBOL:.0%})" for i in bad)
    return (*errors, *unit_breaks(columns))


def _finding_rows(findings: list[Finding], rows: pa.Table, facts: SourceFacts, released: Released) -> pa.Table:
    """Findings as rows of the quarantine table; a warning counts as released, because its row was never held back."""
    taken = rows.take(pa.array([f.row for f in findings], pa.int64()))
    known = rows.take(pa.array([f.known_row for f in findings], pa.int64()))
    keys = zip(taken.column("symbol").to_pylist(), (ts.isoformat() for ts in taken.column("ts").to_pylist()), findings, strict=True)
    free = [f.severity != ERROR or (symbol, ts, f.rule) in released for symbol, ts, f in keys]
    columns = {
        "symbol": taken.column("symbol"),
        "ts": taken.column("ts"),
        "known_at": known.column("known_at"),
        "rule": pa.array([f.rule for f in findings], pa.string()),
        "severity": pa.array([f.severity for f in findings], pa.string()),
        "reason": pa.array([f.reason for f in findings], pa.string()),
        "source": pa.repeat(pa.scalar(facts.name), len(findings)),
        "value": pa.array([f.value for f in findings], pa.float64(), from_pandas=True),
        "released": pa.array(free, pa.bool_()),
        "instrument": taken.column("symbol"),
        "evidence": pa.array([evidence_text(f.evidence) for f in findings], pa.string()),
    }
    return pa.table(columns, schema=arrow_schema(QUARANTINE))


def evidence_text(evidence: tuple[tuple[str, float], ...]) -> str:
    """Numbers by name as a JSON object; what is not finite is null."""
    return msgspec.json.encode(dict(evidence)).decode()


def in_snapshot(rows: pa.Table, source: Source, payloads: Mapping[str, RawPayload]) -> pa.Table:
    """Rows of the keys the latest payloads hold, for sources that are read as a whole.

    The bar table keeps what a user's folder once held; a file taken away, or another folder, must not be mixed in.
    """
    if source.facts.partitioning is not Partitioning.NONE:
        return rows
    offered = source.bars(payloads)
    symbols, codes = np.unique(offered.symbol, return_inverse=True)
    symbol = column_texts(rows, "symbol")
    known = np.minimum(np.searchsorted(symbols, symbol), max(len(symbols) - 1, 0))
    wanted = _keys(codes, offered.session)
    inside = (symbols[known] == symbol) & np.isin(_keys(known, rows.column("session").to_numpy()), wanted)
    return rows.filter(pa.array(inside))


def _keys(codes: NDArray[np.int64], session: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """One number for each (symbol, day)."""
    return codes.astype(np.int64) * _DAYS + session.astype("datetime64[D]").astype(np.int64)
