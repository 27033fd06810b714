"""Bars shorter than a session, quotes and trades: closed bars of the regular session only, and what stands at one instant told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_dagster.sources.calendars import exchange
from hedgefund_dagster.sources.http.rows import NEW_YORK
from hedgefund_dagster.sources.source import RawPayload

STEPS: Mapping[str, timedelta] = {"1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
TICK = "tick"
_CALENDAR = "XNYS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStep:
    """A bar as read, by when it begins: ``values`` by canonical column; ``row`` counts from 1 inside the payload."""

    payload: RawPayload
    row: int
    symbol: str
    begins: datetime
    values: Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTick:
    """A quote or trade as read; ``ident`` is what it is recognised by where pages repeat it."""

    payload: RawPayload
    row: int
    symbol: str
    ts: datetime
    ident: tuple[object, ...]
    values: Mapping[str, object]


def session_hours(first: date, last: date) -> dict[date, tuple[datetime, datetime]]:
    """Opening and closing of each session of those days, UTC; half days right."""
    # Whole years, so that one calendar is built and kept for all reads of them.
    opened = exchange(_CALENDAR, f"{first.year}-01-01", f"{last.year + 1}-01-08")
    days = opened.sessions.values.astype("datetime64[D]")
    inside = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    opens, closes = (
        column.dt.tz_localize(None).to_numpy().astype("datetime64[us]")[inside].tolist() for column in (opened.opens, opened.closes)
    )
    return {
        day: (begins.replace(tzinfo=UTC), ends.replace(tzinfo=UTC))
        for day, begins, ends in zip(days[inside].tolist(), opens, closes, strict=True)
    }


def refuse_other_step(payload: RawPayload, row: int, name: str, begins: datetime, resolution: str) -> None:
    """Raise DataInvalid if a bar does not begin where bars of that length do: then it is another length."""
    if begins.tzinfo is None or begins.second or begins.microsecond or (resolution == "1h" and begins.minute):
        raise DataInvalid(f"{payload.origin}: row {row}, field `{name}`: no bar of {resolution} begins at {begins}")


def step_records(source: str, resolution: str, steps: Sequence[ReadStep], delay: timedelta) -> list[dict[str, object]]:
    """Records of the table of intraday bars, stamped with their close; bars that touch the regular session, each once.

    A bar that was not complete when it was fetched, or not out for ``delay`` yet, is left for the next fetch.
    """
    if not steps:
        return []
    days = [step.begins.astimezone(NEW_YORK).date() for step in steps]
    hours, said, records = session_hours(min(days), max(days)), set[tuple[object, ...]](), []
    for step, day in zip(steps, days, strict=True):
        ends = step.begins + STEPS[resolution]
        saying = (step.symbol, step.begins, *step.values.items())
        if day not in hours or ends <= hours[day][0] or step.begins >= hours[day][1]:
            continue
        if ends + delay > step.payload.retrieved_at or saying in said:
            continue
        said.add(saying)
        stamped = _stamped(source, step.payload, step.row, day, ends.astimezone(UTC), delay)
        records.append({"symbol": step.symbol, "resolution": resolution, **stamped, **step.values})
    return records


def tick_records(source: str, ticks: Iterable[ReadTick], delay: timedelta) -> Iterator[dict[str, object]]:
    """Records of quotes or trades in their order: what overlapping pages repeat stands once, ``sequence`` tells the others apart."""
    said, places = set[tuple[object, ...]](), Counter[tuple[str, datetime]]()
    for tick in ticks:
        if tick.ident in said or tick.ts + delay > tick.payload.retrieved_at:
            continue
        said.add(tick.ident)
        sequence, place = places[tick.symbol, tick.ts], (tick.symbol, tick.ts)
        places[place] += 1
        stamped = _stamped(source, tick.payload, tick.row, tick.ts.astimezone(NEW_YORK).date(), tick.ts.astimezone(UTC), delay)
        yield {"symbol": tick.symbol, "resolution": TICK, "sequence": sequence, **stamped, **tick.values}


def sample_windows(first: date, last: date, clocks: Sequence[time], length: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Beginning and end of each sample of those days that lies in its session."""
    for day, (opens, closes) in session_hours(first, last).items():
        for clock in clocks:
            begins = datetime.combine(day, clock, tzinfo=NEW_YORK).astimezone(UTC)
            if opens <= begins and begins + length <= closes:
                yield begins, begins + length


def _stamped(source: str, payload: RawPayload, row: int, session: date, ts: datetime, delay: timedelta) -> dict[str, object]:
    return {
        "session": session,
        "ts": ts,
        "known_at": ts + delay,
        "known_at_basis": KnownAtBasis.ASSUMED.value,
        "source": source,
        "raw_sha256": payload.sha256,
        "source_row": row,
    }
