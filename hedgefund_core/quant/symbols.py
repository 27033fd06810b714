"""Dated names: which instrument a symbol meant on a day, what a universe held, which sector a name was in.

A symbol is used again by others, an instrument changes its symbol: joining by symbol alone mixes two companies. All spans are
closed intervals of days; an open end is NaT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Days = NDArray[np.datetime64]
Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """What held from a day to a day, (n_rows,) each: ``symbol``, ``value`` (an instrument id, a sector, ...).

    ``valid_from`` and ``valid_until`` are datetime64[D], the last day included; NaT = it still holds.
    """

    symbol: Texts
    value: Texts
    valid_from: Days
    valid_until: Days

    def __post_init__(self) -> None:
        """Refuse spans that end before they begin, or have no beginning."""
        if len({len(self.symbol), len(self.value), len(self.valid_from), len(self.valid_until)}) != 1:
            message = "the columns of spans have different lengths"
            raise DataInvalid(message)
        if bool(np.isnat(self.valid_from).any()) or bool((self.valid_until < self.valid_from).any()):
            message = "a span has no first day, or ends before it begins"
            raise DataInvalid(message, mend="correct valid_from and valid_until of the row")

    def on(self, day: np.datetime64) -> NDArray[np.bool_]:
        """Which spans hold on that day."""
        return (self.valid_from <= day) & (np.isnat(self.valid_until) | (self.valid_until >= day))


def meant(spans: Spans, symbols: tuple[str, ...], day: np.datetime64) -> tuple[str, ...]:
    """What each symbol stood for on a day; empty text where it stood for nothing.

    Of several spans that hold on the day the one that began last counts: a name that is used again belongs to its new bearer.
    """
    holds = np.flatnonzero(spans.on(day))
    order = holds[np.argsort(spans.valid_from[holds], kind="stable")]
    found = dict(zip(spans.symbol[order].tolist(), spans.value[order].tolist(), strict=True))
    return tuple(found.get(symbol, "") for symbol in symbols)


def names_of(spans: Spans, value: str) -> tuple[tuple[str, np.datetime64, np.datetime64], ...]:
    """The symbols an instrument had, oldest first: (symbol, first day, last day or NaT)."""
    places = np.flatnonzero(spans.value == value)
    order = places[np.argsort(spans.valid_from[places], kind="stable")]
    return tuple((str(spans.symbol[i]), spans.valid_from[i], spans.valid_until[i]) for i in order)


def members(spans: Spans, day: np.datetime64) -> tuple[str, ...]:
    """Symbols whose span holds on the day, sorted."""
    return tuple(sorted(set(spans.symbol[spans.on(day)].tolist())))


def membership(spans: Spans, sessions: Days, symbols: tuple[str, ...]) -> NDArray[np.bool_]:
    """Who belonged when, bool (n_sessions, n_symbols): the mask research uses instead of today's members.

    ``sessions`` strictly increasing. A name outside ``symbols`` is left out.
    """
    mask = np.zeros((len(sessions), len(symbols)), np.bool_)
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    first = np.searchsorted(sessions, spans.valid_from, side="left")
    last = np.where(np.isnat(spans.valid_until), len(sessions), np.searchsorted(sessions, spans.valid_until, side="right"))
    for symbol, start, stop in zip(spans.symbol.tolist(), first.tolist(), last.tolist(), strict=True):
        if symbol in columns:
            mask[start:stop, columns[symbol]] = True
    return mask
