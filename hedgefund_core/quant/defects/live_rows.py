"""Validation of one session's rows as they arrive: the same rules, the same findings as over the whole table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bar_rules import SESSION_RULES, BarColumns, Finding, check_rows
from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.defects.defect import Defect
from hedgefund_core.quant.defects.grid import Flags
from hedgefund_core.quant.defects.live import LiveRules
from hedgefund_core.quant.defects.rows import usable_rows


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Told:
    """A finding in names: it may speak of an earlier session than the one that revealed it."""

    symbol: str
    session: np.datetime64
    rule: str
    known_session: np.datetime64
    severity: str
    reason: str
    value: float
    evidence: tuple[tuple[str, float], ...]


def told(finding: Finding, bars: BarColumns) -> Told:
    """A finding of the table rules in names."""
    return Told(
        symbol=str(bars.symbol[finding.row]),
        session=bars.session[finding.row],
        rule=finding.rule,
        known_session=bars.session[finding.known_row],
        severity=finding.severity,
        reason=finding.reason,
        value=finding.value,
        evidence=finding.evidence,
    )


class LiveValidation:
    """The rings behind the live rules, for a fixed set of symbols.

    Parameters
    ----------
    history : panel of the rows so far, the last of ``RING_ROWS`` sessions; its symbols are the ones that may arrive.
    """

    def __init__(self, history: Panel) -> None:
        self._rules = LiveRules(history)
        self._facts = replace(history.rows(0, 0), benchmark=None, known_at=None, close_at=None)
        self._symbols = np.array(history.symbols)
        self._order = np.argsort(self._symbols)
        self._fields = tuple(name for name in FIELDS if getattr(history, name) is not None)
        self._stood: Flags = np.isfinite(history.close[-1]) if history.shape[0] else np.zeros(len(history.symbols), dtype=bool)

    def update(self, bars: BarColumns, *, splits: Floats | None = None, dividends: Floats | None = None) -> list[Told]:
        """All findings one session's rows reveal.

        Parameters
        ----------
        bars : rows of one session, sorted by (symbol, source_row), later than every session before.
        splits, dividends : of that session, one a symbol; needed where the history has them.

        Raises
        ------
        DataInvalid
            If the rows are of several sessions or of an unknown symbol.
        """
        found = [told(item, bars) for item in check_rows(bars, SESSION_RULES)]
        rows = np.flatnonzero(usable_rows(bars))
        if len(rows):
            found.extend(self._detected(bars, rows, splits, dividends))
        return sorted(found)

    def _detected(self, bars: BarColumns, rows: np.ndarray, splits: Floats | None, dividends: Floats | None) -> list[Told]:
        """What the detectors say of the panel row these rows make."""
        session, columns = bars.session[rows[0]], self._columns(bars, rows)
        grids = {"split_ratios": splits, "dividends": dividends}
        made: dict[str, Any] = {
            name: values[None] for name, values in grids.items() if values is not None
        }  # replace() takes fields of every type
        for name in self._fields:
            values = np.full((1, len(self._symbols)), np.nan)
            values[0, columns] = np.where(np.isfinite(bars.fields[name][rows]), bars.fields[name][rows], np.nan)
            made[name] = values
        newest = replace(self._facts, sessions=np.array([session], dtype="datetime64[D]"), **made)
        found = self._rules.update(newest)
        before, self._stood = self._stood, np.zeros(len(self._symbols), dtype=bool)
        self._stood[columns] = True
        return [self._named(item) for item in found if not (item.rule == "missing_session" and before[item.column])]

    def _columns(self, bars: BarColumns, rows: np.ndarray) -> np.ndarray:
        """The column of each row's symbol."""
        symbol = bars.symbol[rows]
        columns = self._order[np.minimum(np.searchsorted(self._symbols, symbol, sorter=self._order), len(self._symbols) - 1)]
        unknown = self._symbols[columns] != symbol
        if unknown.any() or (bars.session[rows] != bars.session[rows[0]]).any():
            what = f"unknown symbol {symbol[unknown][0]}" if unknown.any() else "rows of several sessions"
            raise DataInvalid(f"live validation: {what}", mend="start it again from a panel with these symbols, one session at a time")
        return np.asarray(columns)

    def _named(self, item: Defect) -> Told:
        return Told(
            symbol=item.symbol,
            session=item.session,
            rule=item.rule,
            known_session=item.known_session,
            severity=str(item.severity),
            reason=item.reason,
            value=self._rules.close_of(item),
            evidence=item.evidence,
        )
