"""What a detector returns, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hedgefund_core.quant.defects.grid import Grid


class Severity(StrEnum):
    """An ``error`` holds the row back, a ``warning`` keeps it and notes it (the two words of the quarantine table)."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Defect:
    """One row that a detector does not trust.

    Attributes
    ----------
    row, column : place in the panel (session position, symbol position).
    known_row : session position whose bar revealed it; the finding uses nothing later.
    symbol, session, known_session : the same in names.
    rule, severity : which detector says so, and whether the row is held.
    reason : what is wrong, in words with the numbers.
    evidence : (name, value) pairs the verdict rests on.
    """

    row: int
    column: int
    rule: str
    known_row: int
    symbol: str
    session: np.datetime64
    known_session: np.datetime64
    severity: Severity
    reason: str
    evidence: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A rule: ``find(grid, since)`` returns the defects revealed by rows ``since`` and later.

    ``look_back`` is the number of earlier rows it reads at most, ``look_ahead`` the number of later rows it waits for before
    it can speak of a row (0 = it judges the newest row at once).
    """

    name: str
    look_back: int
    look_ahead: int
    find: Callable[[Grid, int], list[Defect]]


def defect(
    grid: Grid,
    cell: tuple[int, int],
    rule: str,
    reason: str,
    *,
    known_row: int | None = None,
    severity: Severity = Severity.ERROR,
    **evidence: float,
) -> Defect:
    """A finding at ``cell`` = (row, column); names are filled in from the grid."""
    row, column = int(cell[0]), int(cell[1])
    known = row if known_row is None else int(known_row)
    return Defect(
        row=row,
        column=column,
        rule=rule,
        known_row=known,
        symbol=grid.panel.symbols[column],
        session=grid.panel.sessions[row],
        known_session=grid.panel.sessions[known],
        severity=severity,
        reason=reason,
        evidence=tuple((name, float(value)) for name, value in evidence.items()),
    )
