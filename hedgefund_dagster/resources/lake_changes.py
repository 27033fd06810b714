"""What of an offered table is new: column by column, never row by row.

A row is no news if it can change no as-of read, now or after late rows came: the version before it (in `VersionOrder`) has the same
key, says the same, was recorded no later, and was known at the same time. Where ``known_at`` is our own clock (observed) a later
time of knowledge is no news either: asking again tells nothing new, and nothing can come in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import Table

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
_UNSAID = ("recorded_at", "raw_sha256", "source_row")
_LARGEST = 2**62


def codes(rows: pa.Table, names: tuple[str, ...]) -> Codes:
    """One number a row: equal where the columns are equal (null equals null), in the order of first appearance of each value."""
    combined, size = np.zeros(rows.num_rows, np.int64), 1
    for name in names:
        part, distinct = _column_codes(rows.column(name))
        if size * distinct > _LARGEST:
            combined, size = _column_codes(pa.chunked_array([pa.array(combined)]))
        combined, size = combined * distinct + part, size * distinct
    return combined


def _column_codes(column: pa.ChunkedArray) -> tuple[Codes, int]:
    whole = column.combine_chunks()
    array = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    encoded = array.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), max(1, len(encoded.dictionary))


def moments(rows: pa.Table, name: str) -> NDArray[np.datetime64]:
    """A column of times as numpy, UTC."""
    found: NDArray[np.datetime64] = rows.column(name).cast(pa.int64()).to_numpy().astype("datetime64[us]")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOrder:
    """The order of the versions of a table: (identity, known_at, first recording of the key, recorded_at).

    Of two filings that became public at the same moment the one first recorded later counts, whatever is fetched again.
    """

    identity: Codes
    known_at: NDArray[np.datetime64]
    key: Codes
    recorded_at: NDArray[np.datetime64]

    @classmethod
    def of(cls, rows: pa.Table, table: Table) -> VersionOrder:
        """The order of rows given in the order of their writes."""
        return cls(
            identity=codes(rows, table.identity),
            known_at=moments(rows, "known_at"),
            key=codes(rows, (*table.identity, *(name for name in table.key if name not in ("known_at", *table.identity)))),
            recorded_at=moments(rows, "recorded_at"),
        )

    def sorted(self, places: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Positions (of ``places`` only) in that order."""
        chosen = np.arange(len(self.identity)) if places is None else places
        ranked = first_seen(self.key)
        order = np.lexsort((self.recorded_at[chosen], ranked[chosen], self.known_at[chosen], self.identity[chosen]))
        return chosen[order]


def first_seen(key: Codes) -> Codes:
    """Codes renumbered by the place of their first row."""
    return _column_codes(pa.chunked_array([pa.array(key)]))[0]


def said_columns(table: Table) -> tuple[str, ...]:
    """What a row says apart from when and where we read it; times count only where they are part of the key."""
    silent = {*_UNSAID, *(name for name in ("ts", "known_at") if name not in table.key)}
    return tuple(name for name in table.column_names if name not in silent)


def same_said(rows: pa.Table, names: tuple[str, ...], one: NDArray[np.int64], other: NDArray[np.int64]) -> Flags:
    """Whether the rows at two lists of places say the same in those columns; null equals null, NaN equals NaN."""
    same = np.ones(len(one), np.bool_)
    if len(one) == 0:
        return same
    chosen = rows.select(list(names))
    left, right = _picked(chosen, one), _picked(chosen, other)
    for name in names:
        same &= _equal(left.column(name), right.column(name))
    return same


def _picked(rows: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Rows at the places; a run of them (the usual case: the same file again) is not copied."""
    run = int(places[-1] - places[0]) == len(places) - 1 and bool(np.all(places[1:] > places[:-1]))
    return rows.slice(int(places[0]), len(places)) if run else rows.take(pa.array(places))


def equal_rows(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables say the same in the same order; null equals null, NaN equals NaN."""
    return one.schema.equals(other.schema) and one.num_rows == other.num_rows and all(map(_all_equal, one.columns, other.columns))


def _all_equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    return bool(_equal(left, right).all())


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Flags:
    equal = pc.fill_null(pc.equal(left, right), pc.and_(pc.is_null(left), pc.is_null(right)))
    if pa.types.is_floating(left.type):
        equal = pc.or_(equal, pc.fill_null(pc.and_(pc.is_nan(left), pc.is_nan(right)), False))
    flags: Flags = equal.to_numpy(zero_copy_only=False) if isinstance(equal, pa.Array) else equal.to_numpy()
    return flags.astype(np.bool_)


def once(rows: pa.Table, table: Table) -> pa.Table:
    """Rows without repetitions; overlapping pages repeat, rows that contradict each other under one key and time are an error."""
    names = (*table.key, *(("known_at",) if "known_at" not in table.key else ()))
    key = codes(rows, names)
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order[1:]] == key[order[:-1]]) + 1
    if len(again) == 0:
        return rows
    same = same_said(rows, said_columns(table), order[again - 1], order[again])
    if not bool(same.all()):
        (row,) = rows.select(list(table.key)).slice(int(order[again[np.flatnonzero(~same)[0]]]), 1).to_pylist()
        message = f"table {table.name}: two rows contradict each other under the key {', '.join(map(str, row.values()))}"
        raise DataInvalid(message, mend="look at the raw payload named in the asset's metadata")
    keep = np.ones(rows.num_rows, np.bool_)
    keep[order[again]] = False
    return rows.filter(pa.array(keep))


def news(rows: pa.Table, stored: pa.Table, table: Table) -> pa.Table:
    """The offered rows that are news against what is stored."""
    if stored.num_rows == 0 and _column_codes(pa.chunked_array([pa.array(codes(rows, table.identity))]))[1] == rows.num_rows:
        return rows
    whole = pa.concat_tables([stored, rows]).combine_chunks()
    versions = VersionOrder.of(whole, table)
    order = versions.sorted()
    offered = np.flatnonzero(order >= stored.num_rows)
    place, before = order[offered], order[np.maximum(offered - 1, 0)]
    same_time = (versions.known_at[place] == versions.known_at[before]) | _observed(whole)[place]
    not_earlier = versions.recorded_at[before] <= versions.recorded_at[place]
    likely = (offered > 0) & (versions.key[place] == versions.key[before]) & same_time & not_earlier
    known = np.zeros(len(offered), np.bool_)
    known[likely] = same_said(whole, said_columns(table), place[likely], before[likely])
    fresh = np.sort(place[~known]) - stored.num_rows
    return rows if len(fresh) == rows.num_rows else rows.take(pa.array(fresh))


def _observed(rows: pa.Table) -> Flags:
    flags: Flags = pc.equal(rows.column("known_at_basis"), "observed").to_numpy().astype(np.bool_)
    return flags


def differing_bars(rows: pa.Table, latest: pa.Table) -> pa.Table:
    """Bars of (symbol, session) that are new, or whose content differs from the latest stored version.

    A payload may repeat a key (validation judges that): what a key says is then all of its rows, in their order.
    """
    names = tuple(name for name in rows.column_names if name not in _UNSAID)
    whole = pa.concat_tables([latest, rows]).combine_chunks()
    key = codes(whole, ("symbol", "session"))
    order = np.argsort(key, kind="stable")
    fresh = order >= latest.num_rows
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    offered = np.add.reduceat(fresh.astype(np.int64), starts)
    lengths = np.diff(np.append(starts, len(order)))
    balanced = 2 * offered == lengths
    changed = ~balanced
    half = offered[balanced]
    group = np.repeat(np.flatnonzero(balanced), half)
    within = np.arange(len(group)) - np.repeat(np.cumsum(half) - half, half)
    old = order[starts[group] + within]
    same = same_said(whole, names, old, order[starts[group] + within + offered[group]])
    np.logical_or.at(changed, group[~same], np.ones(int((~same).sum()), np.bool_))
    kept = np.sort(order[np.repeat(changed, lengths) & fresh]) - latest.num_rows
    return rows if len(kept) == rows.num_rows else rows.take(pa.array(kept))
