"""Whether every fill of a backtest came after its decision: by the orders it answers and by the price it got."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features.audit import LookAheadFinding, audit_fills

Arrays = dict[str, NDArray[np.generic]]
CENT = 1e-6
"""Prices of fills are rounded to six places."""


def trade_arrays(name: str, result: BacktestResult) -> Arrays:
    """Fills (session, symbol, side, price) and allowed orders (session of the decision, symbol, side) of a book, one row each."""
    fills, orders = result.fills, result.orders[result.orders["allowed"]]
    return {
        f"fills_{name}": np.column_stack([fills[field].astype(np.float64) for field in ("session", "symbol", "side", "price")]),
        f"orders_{name}": np.column_stack([orders[field].astype(np.float64) for field in ("session", "symbol", "side")]),
    }


def same_bar_fills(panel: Panel, fills: Floats, orders: Floats) -> list[LookAheadFinding]:
    """Fills no order of the session before asked for, or at another price than that of their session's auction.

    ``panel`` has the sessions that positions in ``fills`` and ``orders`` count; auctions are its opens, else its closes.
    """
    when, column = fills[:, 0].astype(np.int64), fills[:, 1].astype(np.int64)
    asked = {(int(session), int(symbol), int(side)) for session, symbol, side in orders}
    answers = np.array([(int(s) - 1, int(j), int(side)) in asked for s, j, side in fills[:, :3]], dtype=np.bool_)
    auction = panel.close if panel.open is None else panel.open
    priced = np.isclose(fills[:, 3], auction[when, column], rtol=0.0, atol=CENT)
    # What nothing asked for a session earlier was decided on this bar; what has no price of this auction was filled on the bar before.
    decided = panel.sessions[np.where(answers, when - 1, when)]
    filled = panel.sessions[np.where(priced, when, when - 1)]
    return audit_fills([panel.symbols[place] for place in column.tolist()], decided=decided, filled=filled, prices=fills[:, 3])
