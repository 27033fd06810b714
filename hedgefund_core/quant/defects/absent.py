"""Absent prices: a bar that has a close but lacks an open, a high or a low its symbol carries otherwise."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.defects.defect import Defect, Detector, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, Grid

FIELDS = ("open", "high", "low")


def find(grid: Grid, since: int) -> list[Defect]:
    """Bars without a price that the bar before (or, for the first bar, the one after) has."""
    absent: dict[tuple[int, int], tuple[int, list[str]]] = {}
    start = max(0, since - NEIGHBOUR_ROWS)
    for name in FIELDS:
        values = getattr(grid.panel, name)
        if values is None:
            continue
        for row, column in np.argwhere(grid.present[start:] & ~(np.isfinite(values[start:]) & (values[start:] > 0))):
            cell = (int(row) + start, int(column))
            past, later = values[max(0, cell[0] - NEIGHBOUR_ROWS) : cell[0], cell[1]], int(grid.after[cell])
            if (np.isfinite(past) & (past > 0)).any():
                absent.setdefault(cell, (cell[0], []))[1].append(name)
            elif grid.before[cell] < 0 <= later and np.isfinite(values[later, cell[1]]) and values[later, cell[1]] > 0:
                absent.setdefault(cell, (later, []))[1].append(name)
    found = []
    for cell, (known, names) in sorted(absent.items()):
        if known >= since:
            reason = f"{', '.join(names)} missing or zero while other bars of {grid.panel.symbols[cell[1]]} have them"
            found.append(defect(grid, cell, "missing_price", reason, known_row=known, fields=len(names)))
    return found


DETECTOR = Detector(name="missing_price", look_back=NEIGHBOUR_ROWS, look_ahead=1, find=find)
