"""From what an adapter read to rows of a canonical table; times of day that vendors mean but do not write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import Table
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_versions import once

NEW_YORK = ZoneInfo("America/New_York")


def table_rows(table: Table, records: Sequence[Mapping[str, object]], recorded_at: datetime) -> pa.Table:
    """Rows with the contract's columns and types; a column no record has is null, ``recorded_at`` is added.

    Of tables that keep versions, what overlapping pages repeat stands once; bars are left as they are, validation judges them.
    Raises DataInvalid if a value does not fit its column, or two rows contradict each other under one key.
    """
    stamped = recorded_at.astimezone(UTC)
    schema = arrow_schema(table)
    columns = {
        column.name: [stamped] * len(records) if column.name == "recorded_at" else [record.get(column.name) for record in records]
        for column in table.columns
    }
    try:
        rows = pa.table([pa.array(columns[name], schema.field(name).type, from_pandas=True) for name in schema.names], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataInvalid(f"table {table.name}: {error}") from error
    return once(rows, table) if table.identity else rows


def at(day: date, clock: time, zone: ZoneInfo = NEW_YORK) -> datetime:
    """The moment the clock shows that time there on that day, in UTC."""
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)


def end_of(day: date, zone: ZoneInfo = NEW_YORK) -> datetime:
    """The midnight that ends the day there, in UTC: the latest moment a vendor's bare date can mean."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)
