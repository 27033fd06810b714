"""Row rules of bars: what makes a row wrong, as pure functions on columns sorted by (symbol, session).

A rule returns findings; an ``error`` holds the row back, a ``warning`` keeps it and notes it. These rules look at a row alone,
or at the rows of its key; what needs neighbours in time is a detector (``quant/defects``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

ERROR, WARNING = "error", "warning"
UNIT_RATIO = 50.0
"""Cents for dollars is a factor 100; no listed share moves by 50 in a session without a corporate action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarColumns:
    """Rows column-wise, sorted by (symbol, session, source_row); NaN = absent.

    ``symbol`` and ``session`` are the keys; ``raw`` names the payload of a row and ``source_row`` its place there;
    ``is_session`` says whether the calendar knows the session; ``today`` bounds what can have happened.
    """

    symbol: NDArray[np.str_]
    session: NDArray[np.datetime64]
    fields: Mapping[str, Floats]
    raw: NDArray[np.str_]
    source_row: Indices
    is_session: Flags
    today: np.datetime64
    tick: float | None

    @property
    def close(self) -> Floats:
        """The obligatory field."""
        return self.fields["close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row that broke one rule. ``known_row`` is the row whose close first revealed it."""

    row: int
    known_row: int
    rule: str
    severity: str
    reason: str
    value: float
    evidence: tuple[tuple[str, float], ...] = ()


def not_positive(bars: BarColumns) -> list[Finding]:
    """Missing, infinite, zero or negative prices; negative or infinite volume; only the close may not be absent."""
    findings: list[Finding] = []
    for name, values in bars.fields.items():
        allowed = np.isnan(values) if name != "close" else np.zeros(len(values), dtype=bool)
        low = values < 0 if name == "volume" else ~(values > 0)
        for row in np.flatnonzero((low | ~np.isfinite(values)) & ~allowed):
            what = "is missing" if np.isnan(values[row]) else f"is {values[row]:g}"
            findings.append(_error(int(row), "price_not_positive", f"{name} {what}", float(values[row])))
    return findings


def high_below_low(bars: BarColumns) -> list[Finding]:
    """``high`` below ``low``."""
    high, low = bars.fields.get("high"), bars.fields.get("low")
    if high is None or low is None:
        return []
    rows = np.flatnonzero(high < low)
    return [_error(int(r), "high_below_low", f"high {high[r]:g} is below low {low[r]:g}", float(high[r])) for r in rows]


def close_outside_range(bars: BarColumns) -> list[Finding]:
    """``close`` (error) or ``open`` (warning: auctions print outside) beyond [low, high] by more than rounding."""
    findings: list[Finding] = []
    for name, severity in (("close", ERROR), ("open", WARNING)):
        price, high, low = (bars.fields.get(field) for field in (name, "high", "low"))
        if price is None or high is None or low is None:
            continue
        slack = 1e-9 * np.abs(price) + (bars.tick or 0.0)
        for r in np.flatnonzero(((price > high + slack) | (price < low - slack)) & (high >= low)):
            reason = f"{name} {price[r]:g} is outside [{low[r]:g}, {high[r]:g}]"
            findings.append(_finding(int(r), f"{name}_outside_range", severity, reason, float(price[r])))
    return findings


def duplicate(bars: BarColumns) -> list[Finding]:
    """A second row of the same symbol and session; if the rows contradict each other none is trusted."""
    same = np.zeros(len(bars.session), dtype=bool)
    same[1:] = (bars.symbol[1:] == bars.symbol[:-1]) & (bars.session[1:] == bars.session[:-1])
    starts = np.flatnonzero(~same)
    ends = np.append(starts[1:], len(same))
    findings: list[Finding] = []
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        rows = np.arange(start, end)
        equal = all(_all_equal(values[rows]) for values in bars.fields.values())
        held = rows[1:] if equal else rows
        reason = f"{len(rows)} rows for {bars.symbol[rows[0]]} on {bars.session[rows[0]]}" + ("" if equal else " contradict each other")
        findings.extend(_error(int(r), "duplicate", reason, float(bars.close[r])) for r in held)
    return findings


def out_of_order(bars: BarColumns) -> list[Finding]:
    """Rows that stood out of date order in their payload (a wholly descending file is in order): kept, sorted, noted."""
    findings: list[Finding] = []
    for rows in _symbol_rows(bars.symbol):
        for raw in np.unique(bars.raw[rows]):
            block = rows[bars.raw[rows] == raw]
            written = block[np.argsort(bars.source_row[block], kind="stable")]
            steps = np.diff(bars.session[written]).astype(np.int64)
            if np.any(steps > 0) and np.any(steps < 0):
                reason = "stands after a later session in its file; sorted"
                findings.extend(_finding(int(r), "out_of_order", WARNING, reason, float(bars.close[r])) for r in written[1:][steps < 0])
    return findings


def unknown_session(bars: BarColumns) -> list[Finding]:
    """A date the calendar does not know as a session."""
    rows = np.flatnonzero(~bars.is_session)
    return [_error(int(r), "unknown_session", f"{bars.session[r]} is no session of the calendar", float(bars.close[r])) for r in rows]


def future_date(bars: BarColumns) -> list[Finding]:
    """A session later than today."""
    rows = np.flatnonzero(bars.session > bars.today)
    return [_error(int(r), "future_date", f"{bars.session[r]} lies after {bars.today}", float(bars.close[r])) for r in rows]


RULES: tuple[Callable[[BarColumns], list[Finding]], ...] = (
    not_positive,
    high_below_low,
    close_outside_range,
    duplicate,
    out_of_order,
    unknown_session,
    future_date,
)


SESSION_RULES = tuple(rule for rule in RULES if rule is not out_of_order)
"""Rules for the rows of one session as they arrive: order within a file is no question there."""


def check_rows(bars: BarColumns, rules: tuple[Callable[[BarColumns], list[Finding]], ...] = RULES) -> list[Finding]:
    """All findings of all rules, in row order."""
    return sorted((finding for rule in rules for finding in rule(bars)), key=lambda f: (f.row, f.rule))


def unit_breaks(bars: BarColumns) -> list[str]:
    """Lasting changes of scale by 50 or more (cents for dollars): a table error, because no single row is wrong."""
    breaks: list[str] = []
    for rows in _symbol_rows(bars.symbol):
        usable = rows[np.isfinite(bars.close[rows]) & (bars.close[rows] > 0)]
        if len(usable) < 4:  # two rows on each side of a break
            continue
        level = np.log(bars.close[usable])
        before, after = np.maximum(level[:-3], level[1:-2]), np.minimum(level[2:-1], level[3:])
        before_low, after_high = np.minimum(level[:-3], level[1:-2]), np.maximum(level[2:-1], level[3:])
        jumped = (after - before > np.log(UNIT_RATIO)) | (before_low - after_high > np.log(UNIT_RATIO))
        breaks.extend(f"{bars.symbol[usable[i]]} changes scale at {bars.session[usable[i + 2]]}" for i in np.flatnonzero(jumped))
    return breaks


def _symbol_rows(symbol: NDArray[np.str_]) -> list[Indices]:
    """Row numbers of each symbol (rows are sorted by symbol)."""
    if len(symbol) == 0:
        return []
    edges = np.flatnonzero(symbol[1:] != symbol[:-1]) + 1
    return list(np.split(np.arange(len(symbol)), edges))


def _all_equal(values: Floats) -> bool:
    return bool(np.all((values == values[0]) | (np.isnan(values) & np.isnan(values[0]))))


def _finding(row: int, rule: str, severity: str, reason: str, value: float) -> Finding:
    return Finding(row=row, known_row=row, rule=rule, severity=severity, reason=reason, value=value)


def _error(row: int, rule: str, reason: str, value: float) -> Finding:
    return _finding(row, rule, ERROR, reason, value)
