"""Daily prices of vendors: the session's close in UTC, no bar of a session that is not over, splits and dividends as rows of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis
from hedgefund_core.schemas import BARS, STATED_ACTIONS
from hedgefund_dagster.sources.calendars import session_closes
from hedgefund_dagster.sources.http.declaration import VendorFacts
from hedgefund_dagster.sources.http.rows import table_rows
from hedgefund_dagster.sources.source import RawPayload

DELAY = timedelta(minutes=15)
"""No vendor says when a daily bar was published: a quarter of an hour after the close is assumed, and marked so."""
SPLIT, DIVIDEND = "split", "dividend"
_CALENDAR, _ZONE = "XNYS", "America/New_York"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBar:
    """A daily bar as read: ``values`` by canonical column; ``row`` counts from 1 inside the payload."""

    payload: RawPayload
    row: int
    symbol: str
    session: date
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAction:
    """A split (new shares per old) or a cash payment by ex-session; ``ident`` is the vendor's id, so that what pages repeat counts once."""

    payload: RawPayload
    row: int
    symbol: str
    session: date
    kind: str
    value: float
    ident: str = ""
    currency: str | None = None


@dataclass(slots=True, kw_only=True)
class _Sum:
    """The actions of one key: payments add up, splits multiply."""

    first: ReadAction
    value: float
    seen: set[tuple[str, float]] = field(default_factory=set)


def price_table(
    facts: VendorFacts,
    dataset: str,
    payloads: Sequence[RawPayload],
    recorded_at: datetime,
    read: tuple[Callable[[RawPayload], Iterable[ReadBar]], Callable[[RawPayload], Iterable[ReadAction]]],
) -> pa.Table:
    """The table of a price data set: ``read`` says how a vendor's payload is read into daily bars, and how into stated actions."""
    declared, (bars, actions) = facts.dataset(dataset), read
    if declared.table is BARS:
        found = [bar for payload in payloads for bar in bars(payload)]
        return table_rows(BARS, bar_records(declared.stored_as or facts.name, found), recorded_at)
    return table_rows(STATED_ACTIONS, action_records(facts.name, [a for payload in payloads for a in actions(payload)]), recorded_at)


def dashed(symbol: str) -> str:
    """Share classes as many vendors spell them: BRK-B."""
    return symbol.replace(".", "-")


def dotted(symbol: str) -> str:
    """Share classes as exchanges and brokers spell them, and we: BRK.B."""
    return symbol.replace("-", ".").upper()


def finite(payload: RawPayload, row: int, name: str, value: float | None) -> float | None:
    """The number, or None where the vendor states none; raises DataInvalid naming row and field if it is not finite."""
    if value is not None and not math.isfinite(value):
        raise DataInvalid(f"{payload.origin}: row {row}, field `{name}`: {value} is no number")
    return value


def bar_records(source: str, bars: Sequence[ReadBar]) -> list[dict[str, object]]:
    """Records of the bar table; a bar whose session was not over when it was fetched is left for the next fetch, repeats stand once."""
    records: list[dict[str, object]] = []
    said: set[tuple[object, ...]] = set()
    for bar, closed in zip(bars, _closes([bar.session for bar in bars]), strict=True):
        saying = (bar.symbol, bar.session, *bar.values.items())
        if closed + DELAY > bar.payload.retrieved_at or saying in said:
            continue
        said.add(saying)
        records.append({"symbol": bar.symbol, **_stamped(source, bar.payload, bar.row, bar.session, closed), **bar.values})
    return records


def action_records(source: str, actions: Iterable[ReadAction]) -> list[dict[str, object]]:
    """Records of the table of stated actions: one a symbol, ex-session and kind. An action counts as known with its ex-session's bar."""
    sums: dict[tuple[str, date, str], _Sum] = {}
    for action in actions:
        _refuse_bad_value(action)
        total = sums.setdefault(
            (action.symbol, action.session, action.kind), _Sum(first=action, value=1.0 if action.kind == SPLIT else 0.0)
        )
        if (action.ident, action.value) in total.seen:
            continue
        total.seen.add((action.ident, action.value))
        total.value = total.value * action.value if action.kind == SPLIT else total.value + action.value
    found = [total.first for total in sums.values()]
    return [
        {
            "symbol": action.symbol,
            **_stamped(source, action.payload, action.row, action.session, closed),
            "kind": action.kind,
            "value": total.value,
            "currency": action.currency,
        }
        for total, action, closed in zip(sums.values(), found, _closes([action.session for action in found]), strict=True)
    ]


def _refuse_bad_value(action: ReadAction) -> None:
    if not math.isfinite(action.value) or action.value <= 0.0:
        raise DataInvalid(f"{action.payload.origin}: row {action.row}: a {action.kind} of {action.value} is none")


def _closes(days: Sequence[date]) -> list[datetime]:
    """UTC close of each session, half days right; a day that is none ends at midnight and is left to validation."""
    if not days:
        return []
    _, closes = session_closes(_CALENDAR, np.array(days, dtype="datetime64[D]"), _ZONE)
    return [moment.replace(tzinfo=UTC) for moment in closes.astype("datetime64[us]").tolist()]


def _stamped(source: str, payload: RawPayload, row: int, session: date, closed: datetime) -> dict[str, object]:
    return {
        "session": session,
        "ts": closed,
        "known_at": closed + DELAY,
        "known_at_basis": KnownAtBasis.ASSUMED.value,
        "source": source,
        "raw_sha256": payload.sha256,
        "source_row": row,
    }
