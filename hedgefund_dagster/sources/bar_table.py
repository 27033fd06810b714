"""From what a source read to rows of the bar table: the three times are added here, once, for every source."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.sources.calendars import Dates, session_closes
from hedgefund_dagster.sources.source import BAR_FIELDS, SourceActions, SourceBars, SourceFacts

PUBLICATION_DELAY = np.timedelta64(15 * 60 * 1_000_000, "us")
"""Bundled history does not say when it was known: close + 15 minutes is assumed, and marked so."""


def _moments(values: Dates) -> pa.Array:
    return pa.array(values.astype("datetime64[us]")).cast(pa.timestamp("us", tz="UTC"))


def _texts(values: NDArray[np.str_]) -> pa.Array:
    """A text column."""
    return pa.array(values, pa.string())


def _constant(value: str, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), length)


def _times(closes: Dates, recorded_at: datetime) -> dict[str, pa.Array]:
    stored = pa.scalar(recorded_at.astimezone(UTC), pa.timestamp("us", tz="UTC"))
    return {
        "ts": _moments(closes),
        "known_at": _moments(closes + PUBLICATION_DELAY),
        "recorded_at": pa.repeat(stored, len(closes)),
        "known_at_basis": _constant(KnownAtBasis.ASSUMED.value, len(closes)),
    }


def bar_rows(bars: SourceBars, facts: SourceFacts, recorded_at: datetime) -> pa.Table:
    """Rows of the bar table, in the source's own order; a field the source does not carry is null in every row."""
    _, closes = session_closes(facts.calendar, bars.session, facts.timezone)
    length = len(bars.session)
    columns = {
        "symbol": _texts(bars.symbol),
        "session": pa.array(bars.session.astype("datetime64[D]")),
        **_times(closes if bars.ts is None else bars.ts, recorded_at),
        "source": _constant(facts.name, length),
        "raw_sha256": _texts(bars.raw_sha256),
        "source_row": pa.array(bars.source_row, pa.int64()),
    }
    for name in BAR_FIELDS:
        values = bars.fields.get(name)
        columns[name] = pa.nulls(length, pa.float64()) if values is None else pa.array(values, pa.float64(), from_pandas=True)
    return pa.table([columns[name] for name in BARS.column_names], schema=arrow_schema(BARS))


def action_rows(actions: SourceActions, facts: SourceFacts, recorded_at: datetime) -> pa.Table:
    """Rows of the corporate action table; an action is read off the ex-session's own bar, so it counts as known with that bar."""
    _, closes = session_closes(facts.calendar, actions.session, facts.timezone)
    length = len(actions.session)
    columns = {
        "symbol": pa.array(actions.symbol.tolist(), pa.string()),
        "session": pa.array(actions.session.astype("datetime64[D]")),
        **_times(closes, recorded_at),
        "kind": pa.array(actions.kind.tolist(), pa.string()),
        "value": pa.array(actions.value, pa.float64()),
        "noise": pa.array(actions.noise, pa.float64()),
        "provenance": _constant(actions.provenance, length),
        "source": _constant(facts.name, length),
    }
    return pa.table([columns[name] for name in CORPORATE_ACTIONS.column_names], schema=arrow_schema(CORPORATE_ACTIONS))


def partition_rows(rows: pa.Table, partition: str) -> pa.Table:
    """Rows of one partition: a year (``2004``) or a day (``2004-03-01``)."""
    sessions = rows.column("session").to_numpy().astype("datetime64[D]")
    inside = sessions.astype("datetime64[Y]") if len(partition) == len("2004") else sessions
    return rows.filter(pa.array(inside == np.datetime64(partition)))


def year_partitions(rows: pa.Table) -> list[str]:
    """The years the rows fall into."""
    sessions = rows.column("session").to_numpy().astype("datetime64[D]")
    return [str(year) for year in np.unique(sessions.astype("datetime64[Y]"))]
