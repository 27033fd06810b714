"""Absent prices: a bar that has a close but lacks an open, a high or a low its symbol carries otherwise."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.defects.defect import Defect, Detector, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, Grid

FIELDS = ("open", "high", "low")


def find(grid: Grid, since: int) -> list[Defect]:
    """Bars without a price that the bar before (or, for the first bar, the one after) has."""
    absent: dict[tuple[int, int], tuple[int, list[str]]] = {}
    for name in FIELDS:
        values = getattr(grid.panel, name)
        if values is None:
            continue
        there = np.isfinite(values) & (values > 0)
        lacking = grid.present & ~there
        lacking[: max(0, since - NEIGHBOUR_ROWS)] = False
        if not lacking.any():
            continue
        carried = np.zeros(grid.shape, dtype=bool)
        for lag in range(1, min(NEIGHBOUR_ROWS, grid.shape[0] - 1) + 1):
            carried[lag:] |= there[:-lag]
        for row, column in np.argwhere(lacking & carried):
            absent.setdefault((int(row), int(column)), (int(row), []))[1].append(name)
        for row, column in np.argwhere(lacking & ~carried & (grid.before < 0)):
            later = int(grid.after[row, column])
            if later >= 0 and there[later, column]:
                absent.setdefault((int(row), int(column)), (later, []))[1].append(name)
    found = []
    for cell, (known, names) in sorted(absent.items()):
        if known >= since:
            reason = f"{', '.join(names)} missing or zero while other bars of {grid.panel.symbols[cell[1]]} have them"
            found.append(defect(grid, cell, "missing_price", reason, known_row=known, fields=len(names)))
    return found


DETECTOR = Detector(name="missing_price", look_back=NEIGHBOUR_ROWS, look_ahead=1, find=find)
