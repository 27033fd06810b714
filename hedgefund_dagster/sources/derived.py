"""Corporate actions of sources that state none but carry an adjusted close."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.derived_actions import DerivedAction, derive_actions
from hedgefund_dagster.sources.source import SourceActions, SourceBars

PROVENANCE = "derived from the jumps of adj_close / close, not stated by the vendor"


def actions_from_adjusted(bars: SourceBars, *, tick: float | None) -> SourceActions | None:
    """Actions of every symbol, or None if no row has an adjusted close."""
    adjusted = bars.fields.get("adj_close")
    if adjusted is None or not bool(np.any(np.isfinite(adjusted))):
        return None
    found: list[tuple[int, DerivedAction]] = []
    for symbol in np.unique(bars.symbol):
        rows = np.flatnonzero(bars.symbol == symbol)
        rows = rows[np.argsort(bars.session[rows], kind="stable")]
        derived = derive_actions(bars.fields["close"][rows], adjusted[rows], tick=tick or 0.01)
        found.extend((int(rows[action.row]), action) for action in derived)
    place = np.array([row for row, _ in found], dtype=np.int64)
    return SourceActions(
        symbol=bars.symbol[place],
        session=bars.session[place],
        kind=np.array([action.kind for _, action in found], dtype=np.str_),
        value=np.array([action.value for _, action in found], dtype=np.float64),
        noise=np.array([action.noise for _, action in found], dtype=np.float64),
        provenance=PROVENANCE,
    )
