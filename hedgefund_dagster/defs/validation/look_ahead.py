"""What a panel may not know: rows published after their decision, values restated since, splits before they happened."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.features.audit import LookAheadFinding, audit_as_of, audit_restatement, audit_split_factors
from hedgefund_core.quant.panel_build import SPLIT
from hedgefund_core.schemas import CORPORATE_ACTIONS, VALIDATED_BARS
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import column_texts
from hedgefund_dagster.resources.stores import bar_store
from hedgefund_dagster.sources.bar_table import PUBLICATION_DELAY

Places = NDArray[np.int64]


def late_rows(lake: Lake, panel: Panel) -> list[LookAheadFinding]:
    """Rows of the panel that nobody could know when their session was decided on, a quarter of an hour after its close."""
    rows = lake.read_table(VALIDATED_BARS, panel.source)
    inside = np.isin(column_texts(rows, "symbol"), list(panel.symbols))
    rows = rows.filter(pa.array(inside))
    ts = rows.column("ts").cast(pa.timestamp("us")).to_numpy()
    return audit_restatement(
        "bars",
        symbols=column_texts(rows, "symbol").tolist(),
        ts=rows.column("session").to_numpy().astype("datetime64[D]"),  # what a finding is named by
        known_at=rows.column("known_at").cast(pa.timestamp("us")).to_numpy(),
        used_at=ts + PUBLICATION_DELAY,
        values=rows.column("close").to_numpy().astype(np.float64),
    )


def restated_cells(lake: Lake, panel: Panel) -> list[LookAheadFinding]:
    """Cells that said something else when they were first recorded, one finding a field."""
    first = bar_store(lake).first_bars(panel.source)
    found: list[LookAheadFinding] = []
    for name, values in _fields(panel).items():
        then = _on_axes(first, name, panel)
        compared = np.where(np.isfinite(values) & np.isfinite(then), values, np.nan)
        found.extend(audit_as_of(compared, np.where(np.isnan(compared), np.nan, then), panel, subject=name))
    return found


def early_split_factors(lake: Lake, panel: Panel) -> list[LookAheadFinding]:
    """Prices that are not the stored ones (an adjustment by factors of the future), and splits at other sessions than their own."""
    stored = lake.read_table(VALIDATED_BARS, panel.source)
    found: list[LookAheadFinding] = []
    for name, values in _fields(panel).items():
        given = _on_axes(stored, name, panel)
        row, column = np.nonzero((values != given) & ~(np.isnan(values) & np.isnan(given)))
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = given[row, column] / values[row, column]
        found.extend(_early(name, panel, row, column, factor))
    if panel.split_ratios is not None:
        row, column = np.nonzero(np.isfinite(panel.split_ratios) & (panel.split_ratios != 1.0))
        known = _split_places(lake, panel)
        own = np.array([place in known for place in zip(row.tolist(), column.tolist(), strict=True)], dtype=np.bool_)
        row, column = row[~own], column[~own]
        found.extend(_early("split_ratios", panel, row, column, panel.split_ratios[row, column]))
    return found


def _early(subject: str, panel: Panel, row: Places, column: Places, ratios: Floats) -> list[LookAheadFinding]:
    """Whatever changed a value belongs to no session up to its own: it counts as effective after the last one."""
    after = np.full(len(row), panel.sessions[-1] + np.timedelta64(1, "D"))
    symbols = [panel.symbols[place] for place in column.tolist()]
    return audit_split_factors(subject, symbols=symbols, applied_from=panel.sessions[row], effective=after, ratios=ratios)


def _fields(panel: Panel) -> dict[str, Floats]:
    return {name: values for name in FIELDS if (values := getattr(panel, name)) is not None}


def _split_places(lake: Lake, panel: Panel) -> set[tuple[int, int]]:
    if not lake.has_table(CORPORATE_ACTIONS, panel.source):
        return set()
    rows = lake.read_table(CORPORATE_ACTIONS, panel.source)
    rows = rows.filter(pa.array(column_texts(rows, "kind") == SPLIT))
    row, column, _ = _places(rows, panel)
    return set(zip(row.tolist(), column.tolist(), strict=True))


def _places(rows: pa.Table, panel: Panel) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Position of each row's session and symbol on the panel's axes, and which rows have one."""
    order = np.argsort(np.array(panel.symbols))
    names, symbol = np.array(panel.symbols)[order], column_texts(rows, "symbol")
    session = rows.column("session").to_numpy().astype("datetime64[D]")
    column = np.minimum(np.searchsorted(names, symbol), len(names) - 1)
    row = np.minimum(np.searchsorted(panel.sessions, session), len(panel.sessions) - 1)
    inside = (names[column] == symbol) & (panel.sessions[row] == session)
    return row[inside].astype(np.int64), order[column[inside]].astype(np.int64), inside


def _on_axes(rows: pa.Table, name: str, panel: Panel) -> Floats:
    grid = np.full(panel.shape, np.nan)
    row, column, inside = _places(rows, panel)
    grid[row, column] = rows.column(name).to_numpy().astype(np.float64)[inside]
    return grid
