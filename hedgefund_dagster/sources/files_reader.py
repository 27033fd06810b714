"""One file of the user's as columns; whatever cannot be read is refused with file, row and column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.identifiers import is_symbol
from hedgefund_core.quant.bars import Floats
from hedgefund_dagster.sources.source import BAR_FIELDS, RawPayload, SourceBars

T = TypeVar("T")
_NOTHING = frozenset({"", "na", "nan", "n/a", "null", "none", "."})


def read_payload(payload: RawPayload, timezone: str) -> SourceBars:
    """Columns of a CSV or Parquet payload; absent columns and empty cells are NaN, never made up."""
    table = _table(payload)
    names = {name.strip().lower().replace(" ", "_"): name for name in table.column_names}
    when = "ts" if "ts" in names else "date"
    for column in ("symbol", when, "close"):
        if column not in names:
            wanted = "`date` or `ts`" if column == when else f"`{column}`"
            found = ", ".join(table.column_names)
            raise DataInvalid(f"{payload.origin}: the column {wanted} is missing; found: {found}", mend="add or rename the column")
    if table.num_rows == 0:
        raise DataInvalid(f"{payload.origin}: no rows", mend="remove the empty file or fill it")
    columns = {name: table.column(column) for name, column in names.items()}
    moments, place = _distinct(payload, when, columns[when], _moment if when == "ts" else _day)
    sessions = [moment.astimezone(ZoneInfo(timezone)).date() if isinstance(moment, datetime) else moment for moment in moments]
    fields = {name: _numbers(payload, name, columns[name]) if name in columns else np.full(table.num_rows, np.nan) for name in BAR_FIELDS}
    symbols, of_row = _distinct(payload, "symbol", columns["symbol"], _symbol)
    return SourceBars(
        symbol=np.array(symbols, dtype=np.str_)[of_row],
        session=np.array(sessions, dtype="datetime64[D]")[place],
        fields=fields,
        raw_sha256=np.full(table.num_rows, payload.sha256),
        source_row=np.arange(1, table.num_rows + 1),
        ts=_utc(moments)[place] if when == "ts" else None,
    )


def _distinct(payload: RawPayload, name: str, column: pa.ChunkedArray, read: Callable[[object], T]) -> tuple[list[T], NDArray[np.int64]]:
    """The distinct values of a column, read once each, and which of them stands in each row: symbols and days repeat."""
    encoded = pa.chunked_array(column).combine_chunks().dictionary_encode("encode")
    distinct = encoded.dictionary.to_pylist()
    try:
        values = [read(cell) for cell in distinct]
    except ValueError:
        values = _column(payload, name, column.to_pylist(), read)  # raises, naming the row
    return values, encoded.indices.to_numpy().astype(np.int64)


def _numbers(payload: RawPayload, name: str, column: pa.ChunkedArray) -> Floats:
    """Numbers as they are typed, or as text that is a number; whatever else is read cell by cell, so that the row is named."""
    plain = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if plain:
        values: Floats = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        return values
    return np.array(_column(payload, name, column.to_pylist(), _number))


def _table(payload: RawPayload) -> pa.Table:
    """Parquet as typed; CSV as text, so that our own words name what cannot be read."""
    raw = pa.BufferReader(payload.content)
    try:
        if payload.suffix.lower().endswith(".parquet"):
            return pq.read_table(raw)
        stream = pa.CompressedInputStream(raw, "gzip") if payload.suffix.lower().endswith(".gz") else raw
        header = pa_csv.open_csv(stream).schema.names
        again = pa.BufferReader(payload.content)
        whole = pa.CompressedInputStream(again, "gzip") if payload.suffix.lower().endswith(".gz") else again
        text = pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
        return pa_csv.read_csv(whole, convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataInvalid(f"{payload.origin}: not readable: {error}", mend="open the file and correct the line it names") from error


def _column(payload: RawPayload, name: str, cells: list[object], read: Callable[[object], T]) -> list[T]:
    """Every cell of a column; the first that cannot be read is named by file, row and column."""
    values = []
    for number, cell in enumerate(cells, start=1):
        try:
            values.append(read(cell))
        except ValueError as error:
            message = f"{payload.origin}: row {number}, column `{name}`: {error}"
            raise DataInvalid(message, mend="correct or remove the row") from error
    return values


def _symbol(cell: object) -> str:
    symbol = str(cell or "").strip().upper()
    if not is_symbol(symbol):
        message = f"{cell!r} is no symbol"
        raise ValueError(message)
    return symbol


def _number(cell: object) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _NOTHING):
        return np.nan
    try:
        return float(str(cell)) if isinstance(cell, str) else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        message = f"{cell!r} is no number"
        raise ValueError(message) from None


def _day(cell: object) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    try:
        return date.fromisoformat(str(cell).strip()[:10] if "-" in str(cell) else str(cell).strip())
    except ValueError:
        message = f"{cell!r} is no date (write YYYY-MM-DD)"
        raise ValueError(message) from None


def _moment(cell: object) -> datetime:
    if isinstance(cell, datetime):
        moment = cell
    else:
        try:
            moment = datetime.fromisoformat(str(cell).strip())
        except ValueError:
            message = f"{cell!r} is no time (write 2024-01-31T21:00:00Z)"
            raise ValueError(message) from None
    if moment.tzinfo is None:  # midnight taken for UTC would be the evening before in New York: every bar a session early
        message = f"{str(cell)!r} has no time zone (write 2024-01-31T21:00:00Z, or name the column `date` if it holds days)"
        raise ValueError(message)
    return moment.astimezone(UTC)


def _utc(moments: list[datetime] | list[date] | list[date | datetime]) -> NDArray[np.datetime64]:
    plain = [m.astimezone(UTC).replace(tzinfo=None) if isinstance(m, datetime) else m for m in moments]
    return np.array(plain, dtype="datetime64[us]")
