"""A panel: bars of many instruments on one session axis, date-major.

Arrays have shape ``(n_sessions, n_symbols)``; an absent value is NaN and is never made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Floats = NDArray[np.float64]


class PriceKind(StrEnum):
    """What a price is. Kinds never mix in one panel."""

    RAW = "raw"
    SPLIT_ADJUSTED = "split_adjusted"
    TOTAL_RETURN = "total_return"


class KnownAtBasis(StrEnum):
    """How we know when the market could know a row."""

    OBSERVED = "observed"
    VENDOR = "vendor"
    ASSUMED = "assumed"


FIELDS = ("open", "high", "low", "close", "volume")
_BY_SESSION = (*FIELDS, "dividends", "split_ratios", "benchmark", "known_at", "close_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars on a common session axis.

    Attributes
    ----------
    sessions : datetime64[D], shape (n_sessions,), strictly increasing session labels.
    symbols : n_symbols names, the column order of every array.
    price_kind : kind of all prices in the panel.
    close : float64 (n_sessions, n_symbols); NaN = no bar.
    open, high, low, volume : the same shape, or None where the source has no such field.
    dividends : cash per share going ex at the session (same shape), or None where unknown.
    split_ratios : new shares per old share effective before the session's open (1 = none), or None.
    benchmark : float64 (n_sessions,) level of the benchmark, or None; ``benchmark_name`` labels it.
    known_at : datetime64[us] (n_sessions,): when the market could know the session's bars.
    close_at : datetime64[us] (n_sessions,): UTC close of the session.
    sessions_per_year : number of sessions in a year of this calendar.
    tick : smallest price step of the source (for jump and stale rules), or None.
    source, data_version : where it came from and the digest of its content.
    """

    sessions: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    price_kind: PriceKind
    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None
    dividends: Floats | None = None
    split_ratios: Floats | None = None
    benchmark: Floats | None = None
    benchmark_name: str = "none"
    known_at: NDArray[np.datetime64] | None = None
    close_at: NDArray[np.datetime64] | None = None
    known_at_basis: KnownAtBasis = KnownAtBasis.ASSUMED
    sessions_per_year: float = 252.0
    tick: float | None = None
    currency: str = "USD"
    source: str = "memory"
    data_version: str = ""

    def __post_init__(self) -> None:
        """Refuse a panel whose arrays do not fit together."""
        shape = (len(self.sessions), len(self.symbols))
        for name in (*FIELDS, "dividends", "split_ratios"):
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                message = f"panel field {name} has shape {values.shape}, expected {shape}"
                raise DataInvalid(message)
        if len(self.sessions) > 1 and not bool((self.sessions[1:] > self.sessions[:-1]).all()):
            message = f"sessions of {self.source} are not strictly increasing"
            raise DataInvalid(message, mend="sort the rows by date and remove duplicates")
        if not _are_unique(self.symbols):
            message = f"symbols of {self.source} are not unique"
            raise DataInvalid(message)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_sessions, n_symbols)."""
        return self.close.shape[0], self.close.shape[1]

    def field(self, name: str) -> Floats:
        """The array of a field; raises DataInvalid where the source has none."""
        values: Floats | None = getattr(self, name)
        if values is None:
            message = f"source {self.source} has no field {name!r}"
            raise DataInvalid(message, mend="choose a source that carries it, or another fill or feature")
        return values

    def rows(self, start: int, stop: int) -> Panel:
        """The panel restricted to sessions ``start:stop`` (positions)."""
        cut = slice(start, stop)
        changes: dict[str, Any] = {  # replace() takes fields of every type
            name: None if getattr(self, name) is None else getattr(self, name)[cut] for name in _BY_SESSION
        }
        return replace(self, sessions=self.sessions[cut], **changes)

    def until(self, session: np.datetime64) -> Panel:
        """Sessions up to and including ``session``."""
        return self.rows(0, int(np.searchsorted(self.sessions, session, side="right")))

    def since(self, session: np.datetime64) -> Panel:
        """Sessions from ``session`` on."""
        return self.rows(int(np.searchsorted(self.sessions, session, side="left")), len(self.sessions))

    def check_same_kind(self, other: Panel) -> None:
        """Refuse rows that cannot follow these: other symbols, another kind of price or other fields."""
        if other.symbols != self.symbols or other.price_kind is not self.price_kind:
            message = f"rows of {other.source} have other symbols or another kind of price than {self.source}"
            raise DataInvalid(message, mend="append rows of the same source only")
        for name in _BY_SESSION:
            if (getattr(self, name) is None) != (getattr(other, name) is None):
                message = f"field {name} is in only one of {self.source} and {other.source}"
                raise DataInvalid(message, mend="append rows with the same fields")

    def extend(self, other: Panel, keep: int | None = None) -> Panel:
        """The panel with the rows of ``other`` after its own, cut to the last ``keep`` rows.

        Raises
        ------
        DataInvalid
            If symbols, kind of price or fields differ, or ``other`` does not start after the last session.
        """
        self.check_same_kind(other)
        changes: dict[str, Any] = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _BY_SESSION
        }
        sessions = np.concatenate([self.sessions, other.sessions])
        joined = replace(self, sessions=sessions, **changes)
        return joined if keep is None else joined.rows(max(0, len(sessions) - keep), len(sessions))


@lru_cache(maxsize=16)
def _are_unique(names: tuple[str, ...]) -> bool:
    """Kept, because each session of an account makes panels of the same names."""
    return len(set(names)) == len(names)


def from_long(
    sessions: NDArray[np.datetime64],
    symbols: Sequence[str],
    columns: Mapping[str, Floats],
    *,
    price_kind: PriceKind,
    source: str = "memory",
    column_order: Sequence[str] | None = None,
) -> Panel:
    """A panel from a long table: one row an (instrument, session), in any order.

    Parameters
    ----------
    sessions, symbols : (n_rows,) session label and symbol of each row.
    columns : field -> float64 (n_rows,); ``close`` is needed, others are optional.
    price_kind, source : as in `Panel`.
    column_order : symbols of the panel; sorted names of the rows by default.

    Returns
    -------
    Panel whose cells without a row are NaN.

    Raises
    ------
    DataInvalid
        If a (session, symbol) occurs twice, a symbol is not in ``column_order``, or ``close`` is absent.
    """
    if "close" not in columns:
        message = f"rows of {source} have no close"
        raise DataInvalid(message)
    order = tuple(column_order) if column_order is not None else tuple(sorted(set(symbols)))
    positions = {symbol: column for column, symbol in enumerate(order)}
    unknown = sorted({str(symbol) for symbol in symbols} - set(order))
    if unknown:
        message = f"rows of {source} have symbols outside the panel: {', '.join(unknown)}"
        raise DataInvalid(message)
    axis, rows = np.unique(sessions.astype("datetime64[D]"), return_inverse=True)
    cells = rows * len(order) + np.array([positions[symbol] for symbol in symbols], dtype=np.int64)
    if len(np.unique(cells)) != len(cells):
        message = f"rows of {source} hold a session of a symbol twice"
        raise DataInvalid(message, mend="remove the duplicate rows")
    fields: dict[str, Floats] = {}
    for name, values in columns.items():
        flat = np.full(len(axis) * len(order), np.nan)
        flat[cells] = values
        fields[name] = flat.reshape(len(axis), len(order))
    return Panel(
        sessions=axis,
        symbols=order,
        price_kind=price_kind,
        close=fields["close"],
        open=fields.get("open"),
        high=fields.get("high"),
        low=fields.get("low"),
        volume=fields.get("volume"),
        dividends=fields.get("dividends"),
        split_ratios=fields.get("split_ratios"),
        source=source,
    )
