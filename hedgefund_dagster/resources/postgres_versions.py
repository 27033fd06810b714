"""Which stored versions count, and which offered rows are new: comparisons of whole columns of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hedgefund_dagster.resources.postgres_copy import Numbers

Columns = Mapping[str, Numbers]
Places = NDArray[np.int64]
PRICES = ("open", "high", "low", "close", "volume", "adj_close")
_WHOLE = ("ts", "known_at", "label_id", "nulls")


def chosen(columns: Columns, *, first: bool = False) -> Places:
    """Places of the rows of the greatest (or least) ``recorded_at`` of each (symbol, session)."""
    key, recorded = _key(columns), columns["recorded_at"]
    if len(key) == 0:
        return np.empty(0, np.int64)
    order = np.argsort(key, kind="stable")
    ordered = recorded[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    best = (np.minimum if first else np.maximum).reduceat(ordered, starts)
    lengths = np.diff(np.append(starts, len(key)))
    places: Places = order[ordered == np.repeat(best, lengths)]
    return places


def differing(offered: Columns, stored: Columns) -> NDArray[np.bool_]:
    """Offered rows whose (symbol, session) is new, or says something else than the stored rows of it (one or several, in any order)."""
    key, known = _key(offered), _key(stored)
    said, held = _said(offered), _said(stored)
    order = np.argsort(known, kind="stable")
    known, held = known[order], held[order]
    place = np.minimum(np.searchsorted(known, key), max(len(known) - 1, 0))
    if len(known) == 0:
        return np.ones(len(key), np.bool_)
    changed: NDArray[np.bool_] = (known[place] != key) | (said != held[place]).any(axis=1)
    repeated = np.union1d(_repeated(key), _repeated(known))
    if len(repeated):
        here, there = np.isin(key, repeated), np.isin(known, repeated)
        ours, theirs = _multisets(key[here], said[here]), _multisets(known[there], held[there])
        changed[here] = [ours[one] != theirs.get(one) for one in key[here].tolist()]
    return changed


def _key(columns: Columns) -> NDArray[np.int64]:
    return (columns["symbol_id"].astype(np.int64) << 32) + columns["session"].astype(np.int64)


def _said(columns: Columns) -> NDArray[np.int64]:
    """What each row says, as bits that are equal where the numbers are: one NaN, one zero, nothing behind a null."""
    cells = [columns[name].astype(np.int64) for name in _WHOLE]
    for bit, name in enumerate(PRICES):
        absent = (columns["nulls"].astype(np.int64) >> bit & 1).astype(np.bool_)
        values = np.where(absent, 0.0, columns[name].astype(np.float64)) + 0.0
        cells.append(np.where(np.isnan(values), np.nan, values).view(np.int64))
    return np.stack(cells, axis=1)


def _repeated(key: NDArray[np.int64]) -> NDArray[np.int64]:
    distinct, counts = np.unique(key, return_counts=True)
    return distinct[counts > 1]


def _multisets(key: NDArray[np.int64], said: NDArray[np.int64]) -> dict[int, Counter[tuple[int, ...]]]:
    found: dict[int, Counter[tuple[int, ...]]] = {}
    for one, words in zip(key.tolist(), said.tolist(), strict=True):
        found.setdefault(one, Counter())[tuple(words)] += 1
    return found
