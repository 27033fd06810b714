"""Cells of a user's file as columns of a contract: whatever cannot be read is null and named by its row, nothing is guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.schemas import Column, ColumnType

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NOTHING = ("", "na", "nan", "n/a", "null", "none", "nat")
UTC_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {ColumnType.TEXT: pa.string(), ColumnType.DATE: pa.date32(), ColumnType.FLOAT: pa.float64(), ColumnType.INTEGER: pa.int64()}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadCell:
    """A cell that breaks a rule: ``row`` counts from 0 in the file."""

    row: int
    field: str
    value: str
    rule: str


@dataclass(slots=True, kw_only=True)
class Cells:
    """Reader of the columns of one file; collects what could not be read."""

    zone: ZoneInfo
    bad: list[BadCell] = field(default_factory=list)

    def read(self, name: str, column: pa.ChunkedArray, kind: ColumnType, *, clock: str) -> pa.ChunkedArray:
        """A column as its contract wants it; ``clock``: the time of day that a bare date means, where a moment is wanted."""
        plain = _blanked(column)
        if kind is ColumnType.TIMESTAMP:
            return self._moments(name, plain, clock)
        if kind is ColumnType.DATE:
            return self._each(name, plain, pa.date32(), _day, "is no date (write YYYY-MM-DD)")
        if kind is ColumnType.TEXT:
            return pc.utf8_trim_whitespace(plain.cast(pa.string()))
        wanted = _TYPES[kind]
        if pa.types.is_string(plain.type):
            return self._each(name, plain, wanted, _number if kind is ColumnType.FLOAT else _whole, "is no number")
        numbers = plain.cast(pa.float64())
        if kind is ColumnType.FLOAT:
            return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
        return self._each(name, plain, wanted, _whole, "is no whole number")

    def _moments(self, name: str, column: pa.ChunkedArray, clock: str) -> pa.ChunkedArray:
        if pa.types.is_timestamp(column.type):
            if column.type.tz is not None:
                return column.cast(UTC_TIME)
            if _only_days(column):
                days = self._each(name, column, pa.date32(), _day, "is no date")
                return self._each(name, days, UTC_TIME, lambda cell: moment_of(cell, clock, self.zone), "")
            local = column.cast(pa.timestamp("us"))
            return pc.assume_timezone(local, str(self.zone), ambiguous="earliest", nonexistent="earliest").cast(UTC_TIME)
        return self._each(name, column, UTC_TIME, lambda cell: moment_of(cell, clock, self.zone), "is no time (write 2024-01-31T21:00:00)")

    def _each(self, name: str, column: pa.ChunkedArray, kind: pa.DataType, read: Callable[[object], object], wrong: str) -> pa.ChunkedArray:
        """Every distinct value read once."""
        encoded = column.combine_chunks().dictionary_encode()
        whole = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        values: list[object] = []
        broken: list[int] = []
        for place, cell in enumerate(whole.dictionary.to_pylist()):
            try:
                values.append(None if cell is None or cell != cell else read(cell))  # noqa: PLR0124 - NaN is nothing
            except (ValueError, OverflowError):
                values.append(None)
                broken.append(place)
        for place in broken:
            rows = np.flatnonzero(whole.indices.fill_null(-1).to_numpy() == place)
            cell = str(whole.dictionary[place].as_py())
            self.bad += [BadCell(row=int(row), field=name, value=cell, rule=wrong) for row in rows]
        return pa.chunked_array([pa.array(values, kind).take(whole.indices)])


def _only_days(column: pa.ChunkedArray) -> bool:
    """Typed times that are all midnight are dates in disguise."""
    moments = pc.drop_null(column.cast(pa.timestamp("us"))).cast(pa.int64()).to_numpy()
    return bool(np.all(moments % 86_400_000_000 == 0))


def _blanked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words for nothing as null."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    texts = column.cast(pa.string())
    empty = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), value_set=pa.array(NOTHING))
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts)


def _number(cell: object) -> float:
    return float(str(cell))


def _whole(cell: object) -> int:
    number = float(str(cell))
    if number != int(number):
        raise ValueError
    return int(number)


def _day(cell: object) -> date:
    """A date: typed, 2024-01-31, or 20240131 as text or number."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    text = str(int(cell)) if isinstance(cell, (int, float)) else str(cell).strip()
    return datetime.strptime(text, "%Y%m%d").date() if text.isdigit() else date.fromisoformat(text[:10])  # noqa: DTZ007 - a day has no zone


def moment_of(cell: object, clock: str, zone: ZoneInfo) -> datetime:
    """A moment; without a zone it is local time there, a bare date means ``clock`` of that day (24:00 = its end)."""
    if isinstance(cell, str) and len(cell.strip()) > len("2024-01-31"):
        moment = datetime.fromisoformat(cell.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)
    day, hour = _day(cell), clock or "24:00"
    if hour == "24:00":
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)
    return datetime.combine(day, time.fromisoformat(hour), tzinfo=zone).astimezone(UTC)


def rendered(template: str, table: pa.Table) -> pa.ChunkedArray:
    """A constant, or a text with ``{column}`` of the row in it."""
    pieces = template.replace("}", "{").split("{")
    parts = [
        pa.array([piece] * table.num_rows, pa.string()) if place % 2 == 0 else pc.fill_null(_text(table.column(piece)), "")
        for place, piece in enumerate(pieces)
    ]
    joined = pc.binary_join_element_wise(*parts, "")
    return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_slice_codeunits(column.cast(pa.string()), 0, 10) if pa.types.is_timestamp(column.type) else column.cast(pa.string())


def local_days(moments: pa.ChunkedArray, zone: ZoneInfo) -> pa.ChunkedArray:
    """The date the clock shows there."""
    return pc.local_timestamp(moments.cast(pa.timestamp("us", tz=str(zone)))).cast(pa.date32(), safe=False)


def empty(column: Column, length: int) -> pa.ChunkedArray:
    """A column nobody gave."""
    kind = UTC_TIME if column.type is ColumnType.TIMESTAMP else _TYPES.get(column.type, pa.bool_())
    return pa.chunked_array([pa.nulls(length, kind)])


def true_places(mask: pa.ChunkedArray) -> NDArray[np.int64]:
    """Rows where a condition surely holds."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy())
