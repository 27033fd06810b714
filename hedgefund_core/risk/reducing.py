"""What an account that may only reduce trades: what lowers gross and does not raise |beta|, else the same amount pro rata.

A rule cannot say this, because it judges orders one by one and a reduction fails safe: closing half of a hedge lowers gross and
leaves the account with more market than it had. So the decision is shaped before it is judged (contracts: Decision kernel).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import TOLERANCE
from hedgefund_core.risk.rule import Floats


def reducing_trades(held: Floats, price: Floats, betas: Floats, closing: Floats) -> Floats:
    """Shares to close of each instrument, where entries are not admitted.

    Parameters
    ----------
    held : float64 (m,), signed shares. price : float64 (m,), NaN only where nothing is held.
    betas : float64 (m,), of each instrument, none NaN. closing : float64 (m,), shares that the decision wants to close, not negative.

    Returns
    -------
    float64 (m,), not negative, not above ``|held|``: ``closing`` where its trades together do not raise ``|beta|``; else the part of
    every position that closes the same value, to be cut to lots by the caller.
    """
    closing = np.minimum(closing, np.abs(held))
    value = np.where(held == 0.0, 0.0, held * price)
    removed = np.where(held == 0.0, 0.0, closing * price)
    before = float((value * betas).sum())
    after = before - float((np.sign(held) * removed * betas).sum())
    if abs(after) <= abs(before) * (1.0 + TOLERANCE):
        return np.asarray(closing, dtype=np.float64)
    return np.asarray(np.abs(held) * (float(removed.sum()) / float(np.abs(value).sum())), dtype=np.float64)
