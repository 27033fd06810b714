"""A user's own file as any table that keeps versions: columns mapped, times made explicit, bad rows named by file, row, field and rule."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from hedgefund_core.configuration import Chain, FileTable, Unpivot
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_core.schemas import QUARANTINE, TABLES, ColumnType, Table
from hedgefund_dagster.resources.lake_changes import codes, said_columns, same_said
from hedgefund_dagster.resources.lake_files import arrow_schema, conform
from hedgefund_dagster.sources.file_cells import UTC_TIME, BadCell, Cells, empty, local_days, rendered, true_places
from hedgefund_dagster.sources.source import RawPayload

VERSIONED = {table.name: table for table in TABLES if table.identity}
MOST_BAD, MOST_BAD_OF_A_SYMBOL = 0.01, 0.2
"""A bad row waits in quarantine; more than these shares of bad rows make a bad table, which is stored not at all."""
_DAY_OF = {"session": 1, "period": 2, "period_end": 3, "through": 4, "valid_from": 5}
_POSITIVE = ("open", "high", "low", "close", "vwap", "bid", "ask", "price", "price_factor", "split_factor")
_NOT_NEGATIVE = ("volume", "size", "bid_size", "ask_size", "trade_count", "sequence")
_ORDERED = (
    ("low", "high"),
    ("low", "open"),
    ("low", "close"),
    ("open", "high"),
    ("close", "high"),
    ("bid", "ask"),
    ("valid_from", "valid_until"),
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ROW = "source_row"
_NUMBER = re.compile(r" row \d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows:
    """What a file says: the good rows, the findings of the bad ones, how many rows there were."""

    rows: pa.Table
    findings: pa.Table
    total: int


def table_of(name: str, settings: FileTable) -> Table:
    """The contract a file is mapped onto; ConfigError names what is wrong with the mapping."""
    table = VERSIONED.get(settings.table)
    if table is None:
        message = f"sources.yaml: files_tables.{name}.table: {settings.table!r} is no table a file can become"
        raise ConfigError(message, mend=f"one of {', '.join(VERSIONED)}")
    ours = {*settings.columns, *settings.constants}
    strange = sorted(ours - set(table.column_names))
    if strange:
        message = f"sources.yaml: files_tables.{name}: {table.name} has no column {', '.join(strange)}"
        raise ConfigError(message, mend=f"its columns: {', '.join(table.column_names)}")
    return table


def payload_of(name: str, settings: FileTable, retrieved_at: datetime) -> RawPayload:
    """The file as it is; DataUnavailable if it is not there."""
    path = Path(settings.path).expanduser()
    if not path.is_file():
        message = f"files_tables.{name}: there is no file {path.name}"
        raise DataUnavailable(message, mend=f"correct files_tables.{name}.path in config/sources.yaml")
    return RawPayload.of(name, path.name, path.read_bytes(), origin=path.name, retrieved_at=retrieved_at)


def file_rows(name: str, settings: FileTable, payload: RawPayload, recorded_at: datetime) -> FileRows:
    """Rows of the contract from a payload; raises DataInvalid if a column is absent, nothing is there, or too much of it is bad."""
    table, cells = table_of(name, settings), Cells(zone=_zone(name, settings))
    theirs = _opened(payload)
    total = theirs.num_rows
    if total == 0:
        raise DataInvalid(f"{payload.origin}: no rows", mend="remove the empty file or fill it")
    theirs = theirs.append_column(_ROW, pa.array(np.arange(1, total + 1)))
    theirs = _without(theirs, settings)
    theirs = theirs if settings.chain is None else _chained(theirs, settings.chain, cells)
    theirs = theirs if settings.unpivot is None else _unpivoted(theirs, settings.unpivot, payload)
    _need(theirs, settings, payload)
    columns = _columns(table, settings, theirs, cells)
    _complete(table, settings, columns, theirs, payload, recorded_at, cells)
    rows = pa.table([columns[c].cast(arrow_schema(table).field(c).type) for c in table.column_names], names=list(table.column_names))
    bad = [*cells.bad, *_broken(rows, table)]
    bad += _contradictions(rows, table, {cell.row for cell in bad})
    places = sorted({cell.row for cell in bad})
    _refuse_bad_table(rows, bad, places, payload)
    keep = np.ones(rows.num_rows, np.bool_)
    keep[places] = False
    return FileRows(
        rows=conform(rows.filter(pa.array(keep)), table), findings=_findings(name, rows, bad, payload, recorded_at), total=total
    )


def _zone(name: str, settings: FileTable) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        message = f"sources.yaml: files_tables.{name}.timezone: {settings.timezone!r} is no time zone"
        raise ConfigError(message, mend="write a name such as America/New_York or UTC") from error


def _opened(payload: RawPayload) -> pa.Table:
    """Parquet as typed; CSV as text, so that our own words name what cannot be read."""
    raw = pa.BufferReader(payload.content)
    try:
        if payload.origin.lower().endswith(".parquet"):
            return pq.read_table(raw)
        stream = pa.CompressedInputStream(raw, "gzip") if payload.origin.lower().endswith(".gz") else raw
        content = stream.read()
        header = pa_csv.open_csv(pa.BufferReader(content)).schema.names
        text = pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
        return pa_csv.read_csv(pa.BufferReader(content), convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataInvalid(f"{payload.origin}: not readable: {error}", mend="open the file and correct the line it names") from error


def _need(theirs: pa.Table, settings: FileTable, payload: RawPayload) -> None:
    wanted = {*settings.columns.values(), *settings.exclude, *([settings.known_at.column] if settings.known_at.column else [])}
    wanted |= {piece for text in settings.constants.values() for piece in text.replace("}", "{").split("{")[1::2]}
    missing = sorted(wanted - set(theirs.column_names))
    if missing:
        message = f"{payload.origin}: the column {', '.join(missing)} is missing; found: {', '.join(theirs.column_names)}"
        raise DataInvalid(message, mend="correct `columns` of the file table in config/sources.yaml")


def _without(theirs: pa.Table, settings: FileTable) -> pa.Table:
    """What the user leaves out by name: the way to load the rest of a file that one symbol would block."""
    for column, values in settings.exclude.items():
        if column in theirs.column_names:
            theirs = theirs.filter(pc.invert(pc.is_in(theirs.column(column).cast(pa.string()), value_set=pa.array(values, pa.string()))))
    return theirs


def _chained(theirs: pa.Table, chain: Chain, cells: Cells) -> pa.Table:
    """Last days as spans: each row of a group begins the day after the row before it."""
    until = cells.read(chain.until, theirs.column(chain.until), ColumnType.DATE, clock="").to_numpy().astype("datetime64[D]")
    group = codes(theirs, (chain.group,))
    order = np.lexsort((until, group))
    first = np.concatenate([[True], np.diff(group[order]) != 0])
    start = np.empty_like(until)
    start[order[1:]] = until[order[:-1]] + np.timedelta64(1, "D")
    second = np.concatenate([[False], first[:-1]]) & ~first
    start[order[second]] = until[order[np.flatnonzero(second) - 1]]
    ended = np.append(first[1:], True)
    event = np.full(len(until), "renamed", dtype="<U8")
    event[order[second]] = "listed"
    open_end = until >= np.datetime64(chain.open_end, "D")
    event[order[ended & ~open_end[order]]] = "delisted"
    ends = until.copy()
    ends[open_end] = np.datetime64("NaT")
    kept = np.sort(order[~first])
    found = theirs.append_column("valid_from", pa.array(start)).append_column("event", pa.array(event, pa.string()))
    return (
        found.drop_columns(["valid_until"] if "valid_until" in found.column_names else [])
        .append_column("valid_until", pa.array(ends))
        .take(pa.array(kept))
    )


def _unpivoted(theirs: pa.Table, unpivot: Unpivot, payload: RawPayload) -> pa.Table:
    """A row a cell; an empty cell makes no row."""
    missing = sorted(set(unpivot.columns) - set(theirs.column_names))
    if missing:
        message = f"{payload.origin}: the column {', '.join(missing)} is missing; found: {', '.join(theirs.column_names)}"
        raise DataInvalid(message, mend="correct `unpivot.columns` of the file table in config/sources.yaml")
    kept = theirs.drop_columns(list(unpivot.columns))
    parts = []
    for column, ours in unpivot.columns.items():
        cells = theirs.column(column)
        named = kept.append_column(unpivot.into, pa.array([ours] * kept.num_rows, pa.string())).append_column(unpivot.value, cells)
        gone = pc.or_kleene(pc.is_null(cells, nan_is_null=True), pc.equal(cells.cast(pa.string()), ""))
        parts.append(named.filter(pc.invert(gone)))
    return pa.concat_tables(parts, promote_options="permissive").combine_chunks()


def _columns(table: Table, settings: FileTable, theirs: pa.Table, cells: Cells) -> dict[str, pa.ChunkedArray]:
    """The columns that were mapped, read by their contract."""
    mapped = dict(settings.columns)
    if settings.unpivot is not None:
        mapped |= {settings.unpivot.into: settings.unpivot.into, settings.unpivot.value: settings.unpivot.value}
    if settings.chain is not None:
        mapped |= {"valid_from": "valid_from", "valid_until": "valid_until"} | ({} if "event" in settings.constants else {"event": "event"})
    kinds = {column.name: column.type for column in table.columns}
    found = {
        ours: cells.read(column, theirs.column(column), kinds[ours], clock=settings.clock)
        for ours, column in mapped.items()
        if ours in kinds
    }
    for ours, text in settings.constants.items():
        found[ours] = cells.read(ours, rendered(text, theirs), kinds[ours], clock=settings.clock)
    return found


def _complete(
    table: Table,
    settings: FileTable,
    columns: dict[str, pa.ChunkedArray],
    theirs: pa.Table,
    payload: RawPayload,
    recorded_at: datetime,
    cells: Cells,
) -> None:
    """What every table has and no file states: times, days, lineage."""
    length = theirs.num_rows
    if "ts" not in columns:
        day = next((name for name in _DAY_OF if name in columns), None)
        if day is None:
            message = f"{payload.origin}: nothing says when a row of {table.name} happened"
            raise DataInvalid(message, mend=f"map ts, or one of {', '.join(_DAY_OF)}")
        columns["ts"] = cells.read(
            settings.columns.get(day, day), columns[day].cast(pa.string()), ColumnType.TIMESTAMP, clock=settings.clock
        )
    if settings.stamps == "start":
        columns["ts"] = _later(columns["ts"], settings.step or settings.constants.get("resolution", ""))
    for name in ("session", "period"):
        if name in table.column_names and name not in columns:
            columns[name] = local_days(columns["ts"], cells.zone)
    known = settings.known_at
    if known.column:
        columns["known_at"] = cells.read(known.column, theirs.column(known.column), ColumnType.TIMESTAMP, clock=known.clock)
    elif "known_at" not in columns:
        columns["known_at"] = _later(columns["ts"], known.delay)
    basis = known.basis or ("vendor" if known.column or "known_at" in settings.columns else "assumed")
    stored = pa.scalar(recorded_at.astimezone(UTC), UTC_TIME)
    columns |= {
        "known_at_basis": pa.chunked_array([pa.repeat(pa.scalar(basis), length)]),
        "recorded_at": pa.chunked_array([pa.repeat(stored, length)]),
        "raw_sha256": pa.chunked_array([pa.repeat(pa.scalar(payload.sha256), length)]),
        _ROW: theirs.column(_ROW),
    }
    columns.setdefault("source", pa.chunked_array([pa.repeat(pa.scalar(payload.source), length)]))
    for column in table.columns:
        columns.setdefault(column.name, empty(column, length))


def _later(moments: pa.ChunkedArray, span: str) -> pa.ChunkedArray:
    """Moments moved by a span such as 15m."""
    number, unit = span[:-1], span[-1:]
    if not number.isdigit() or unit not in _UNITS:
        raise ConfigError(f"sources.yaml: files_tables: {span!r} is no span of time", mend="write 90s, 15m, 1h or 2d")
    return pc.add(moments, pa.scalar(timedelta(**{_UNITS[unit]: int(number)}), pa.duration("us")))


def _broken(rows: pa.Table, table: Table) -> list[BadCell]:
    """Rows that say what cannot be true."""
    found: list[BadCell] = []

    def note(mask: pa.ChunkedArray, name: str, rule: str) -> None:
        found.extend(
            BadCell(row=int(row), field=name, value=str(rows.column(name)[int(row)].as_py()), rule=rule) for row in true_places(mask)
        )

    for column in table.columns:
        if not column.nullable:
            note(pc.is_null(rows.column(column.name)), column.name, "is missing")
    names = set(table.column_names)
    for name in _POSITIVE:
        if name in names:
            note(pc.less_equal(rows.column(name), 0.0), name, "is not above zero")
    for name in _NOT_NEGATIVE:
        if name in names:
            note(pc.less(rows.column(name), 0), name, "is negative")
    for low, high in _ORDERED:
        if {low, high} <= names:
            note(pc.greater(rows.column(low), rows.column(high)), low, f"is above {high}")
    return found


def _contradictions(rows: pa.Table, table: Table, known: set[int]) -> list[BadCell]:
    """Rows of one key and time of knowledge that say different things: none of them can be trusted."""
    places = np.array([place for place in range(rows.num_rows) if place not in known], np.int64)
    key = codes(rows, (*table.key, *(("known_at",) if "known_at" not in table.key else ())))[places]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0])) if len(order) else np.array([], np.int64)
    first = order[np.repeat(starts, np.diff(np.append(starts, len(order))))]
    again = np.flatnonzero(first != order)
    one, other = places[first[again]], places[order[again]]
    same = same_said(rows, said_columns(table), one, other)
    numbers, found = rows.column(_ROW).to_numpy(), []
    for early, late in zip(one[~same].tolist(), other[~same].tolist(), strict=True):
        found += [_against(table, early, int(numbers[late])), _against(table, late, int(numbers[early]))]
    return found


def _against(table: Table, row: int, other: int) -> BadCell:
    return BadCell(row=row, field=", ".join(table.key), value="", rule=f"contradicts row {other}")


def _refuse_bad_table(rows: pa.Table, bad: list[BadCell], places: list[int], payload: RawPayload) -> None:
    """Too much that is bad is a bad table."""
    if not places:
        return
    numbers = rows.column(_ROW).to_numpy()
    words = "; ".join(f"row {numbers[c.row]}, {c.field} = {c.value!r} {c.rule}" for c in bad[:5])
    worst = 0.0
    if "symbol" in rows.column_names:
        symbols = rows.column("symbol").to_pylist()
        counted, broken = Counter(symbols), Counter(symbols[place] for place in places)
        worst = max((number / counted[symbol] for symbol, number in broken.items() if symbol), default=0.0)
    if len(places) > MOST_BAD * rows.num_rows or worst > MOST_BAD_OF_A_SYMBOL:
        message = f"{payload.origin}: {len(places)} of {rows.num_rows} rows are bad: {words}"
        raise DataInvalid(message, mend="correct the rows, or the mapping of the file table in config/sources.yaml")


def _findings(name: str, rows: pa.Table, bad: list[BadCell], payload: RawPayload, recorded_at: datetime) -> pa.Table:
    """The bad rows as findings of the quarantine."""
    numbers = rows.column(_ROW).to_numpy()
    cells = [rows.slice(cell.row, 1).to_pylist()[0] for cell in bad]
    records = [
        {
            "symbol": row.get("symbol") or "?",
            "ts": row["ts"] or recorded_at,
            "known_at": row["known_at"] or recorded_at,
            "rule": f"{cell.field} {_NUMBER.sub('', cell.rule)}".strip(),
            "severity": "error",
            "reason": f"{payload.origin}: row {numbers[cell.row]}, {cell.field} = {cell.value!r} {cell.rule}",
            "source": name,
            "value": None,
            "released": False,
            "instrument": row.get("instrument_id") or row.get("series_id") or row.get("symbol") or "?",
            "evidence": msgspec.json.encode({"row": int(numbers[cell.row]), "field": cell.field, "value": cell.value}).decode(),
        }
        for cell, row in zip(bad, cells, strict=True)
    ]
    schema = arrow_schema(QUARANTINE)
    return pa.Table.from_pylist([{field: record.get(field) for field in schema.names} for record in records], schema=schema)
