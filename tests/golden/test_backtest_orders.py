"""One changed order turns this red. If the change is meant, write the new hash here and say in the commit why orders changed."""

import hashlib

import numpy as np

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.quant.bars import Panel, PriceKind
from tests.builders import mandate

GOLDEN = "5beafe340e32119d1a6d625464c5f21a310f8b676f94a31fc95b518d2680bc93"
ORDERS, DENIED = 766, 172


def seeded_panel(n=400, names=10):
    """Prices from integers only, cut to cents, so that every processor makes the same panel."""
    rng = np.random.default_rng(20_240_601)
    steps = rng.integers(-250, 254, size=(n, names)) + rng.integers(-120, 122, size=(n, 1))
    close = np.empty((n, names))
    last = np.full(names, 80.0)
    for row in range(n):
        last = np.round(last * (1.0 + steps[row] / 10_000.0), 2)
        close[row] = last
    opened = np.round(close * (1.0 + rng.integers(-40, 41, size=(n, names)) / 10_000.0), 2)
    splits = np.ones((n, names))
    splits[250, 3], splits[300, 6] = 2.0, 1.5
    adjust = np.cumprod(splits, axis=0)
    return Panel(
        sessions=np.datetime64("2010-01-04") + np.arange(n),
        symbols=tuple(f"N{(7 * column) % names}" for column in range(names)),
        price_kind=PriceKind.RAW,
        close=np.round(close / adjust, 4),
        open=np.round(opened / adjust, 4),
        volume=rng.integers(40_000, 190_000, size=(n, names)).astype(float),
        split_ratios=splits,
        source="golden",
    )


def test_the_order_list_of_a_seeded_book_has_not_changed():
    panel, book = seeded_panel(), mandate()
    rng = np.random.default_rng(7)
    targets = np.full(panel.shape, np.nan)
    for row in range(130, panel.shape[0], 5):
        signal = rng.permutation(np.arange(panel.shape[1]) - 4.5)
        targets[row] = 1.5 * signal / np.abs(signal).sum()
    result = run_target_weights(panel, targets, costs=book.costs, limits=book, initial_cash=1_000_000.0)
    lines = "\n".join(
        f"{panel.sessions[order['session']]} {panel.symbols[order['symbol']]} {order['side']} {order['quantity']:.0f} "
        f"{int(order['opening'])} {int(order['allowed'])}"
        for order in result.orders
    )
    assert result.trace.capped[result.trace.decided].mean() > 0.10
    assert (len(result.orders), len(result.denied)) == (ORDERS, DENIED)
    assert hashlib.sha256(lines.encode()).hexdigest() == GOLDEN
