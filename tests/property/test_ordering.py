"""Orders a column at a time are those that Decimal makes one by one: shares, legs, ids, limits, also where a float is in doubt."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgefund_core.identifiers import client_order_id
from hedgefund_core.ordering import Market, Terms, Trades, as_trades, batch_of, orders_of, rebalanced
from hedgefund_core.risk.limits import collar_width, reduction_widening
from hedgefund_core.trading.instrument import Instrument, Instruments, to_price
from hedgefund_core.trading.order import Leg, Purpose, Side, TimeInForce
from hedgefund_core.trading.order_table import OrderTable
from hedgefund_core.trading.rebalance import NoTradeBand, rebalance
from tests.builders import mandate

LIMITS = mandate().limits
TERMS = Terms(
    account="a", book="b", session="2020-03-03", decision_id="d", time_in_force=TimeInForce.OPG, purpose=Purpose.TARGETS,
    at=datetime(2020, 3, 2, 21, tzinfo=UTC), on_tick=False,
)  # fmt: skip
names = st.lists(st.sampled_from([f"{a}{b}" for a in "ZAMB" for b in "092"]), min_size=1, max_size=8, unique=True)
# weights, prices and equities that often give a whole number of shares exactly, where truncation hangs on the last bit
weights = st.one_of(st.integers(-200_000, 200_000).map(lambda w: w / 1e6), st.sampled_from([0.0, 0.01, 0.05, -0.05, 0.07, float("nan")]))
prices = st.one_of(
    st.none(), st.decimals("0.01", "9000", places=6), st.sampled_from([Decimal(1), Decimal("0.07"), Decimal("33.333333"), Decimal(100)])
)
held = st.one_of(st.integers(-3000, 3000).map(Decimal), st.decimals("-99", "99", places=3))
lots = st.sampled_from([Decimal(1), Decimal(1), Decimal(1), Decimal(100), Decimal("0.001")])


def market_of(ids: list[str], quoted: list[Decimal | None], sizes: list[Decimal]) -> Market:
    instruments = Instruments(Instrument(instrument_id=name, symbol=name, lot=lot) for name, lot in zip(ids, sizes, strict=False))
    price = np.array([np.nan if value is None else float(value) for value in quoted])
    return Market(instruments=instruments, prices=quoted, price=price, sigma=np.full(len(ids), np.nan), age=np.zeros(len(ids)))


def many(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(values, min_size=8, max_size=8)


@settings(max_examples=60)
@given(
    ids=names, wanted=many(weights), quoted=many(prices), has=many(held), sizes=many(lots),
    equity=st.sampled_from([Decimal(1_000_000), Decimal(100), Decimal("123456.789012"), Decimal("999999.999999")]),
    band=st.sampled_from([NoTradeBand(), NoTradeBand(minimum_change=Decimal(0), relative_change=Decimal(0))]),
)  # fmt: skip
def test_trades_are_those_of_decimal(
    ids: list[str], wanted: list[float], quoted: list[Decimal | None], has: list[Decimal], sizes: list[Decimal], equity: Decimal,
    band: NoTradeBand,
) -> None:  # fmt: skip
    n = len(ids)
    market = market_of(ids, quoted[:n], sizes)
    grid = np.array(wanted[:n])
    positions = {name: size for name, size in zip(ids, has, strict=False) if size}
    targets = {name: to_price(weight) for name, weight in zip(ids, grid.tolist(), strict=True) if np.isfinite(weight)}
    known = {name: price for name, price in zip(ids, quoted, strict=False) if price is not None}
    exact = as_trades(rebalance(market.instruments, targets, positions, known, equity, band), market.instruments)
    holds = np.array([float(positions.get(name, 0)) for name in ids])
    found = rebalanced(market, grid, positions, holds, equity, band)
    assert found.quantities == exact.quantities
    for name in ("place", "sign", "closing", "size"):
        np.testing.assert_array_equal(getattr(found, name), getattr(exact, name), err_msg=name)


@given(
    ids=names, quoted=many(st.decimals("0.01", "9000", places=6)), sigmas=many(st.sampled_from([0.0, 0.02, 0.1, float("nan")])),
    ages=many(st.sampled_from([0.0, 1.0, 2.0, 9.0, float("nan")])), legs=many(st.sampled_from(list(Leg))),
    sides=many(st.sampled_from(list(Side))),
)  # fmt: skip
def test_ids_and_limits_are_those_of_one_order(
    ids: list[str], quoted: list[Decimal], sigmas: list[float], ages: list[float], legs: list[Leg], sides: list[Side]
) -> None:
    n = len(ids)
    market = market_of(ids, list(quoted[:n]), [Decimal(1)] * n)
    market = Market(
        instruments=market.instruments, prices=market.prices, price=market.price, sigma=np.array(sigmas[:n]), age=np.array(ages[:n])
    )
    sign, closing = np.array([float(side.sign) for side in sides[:n]]), np.array([leg is Leg.CLOSE for leg in legs[:n]])
    trades = Trades(place=np.arange(n), sign=sign, closing=closing, quantities=[Decimal(5)] * n, size=np.full(n, 5.0))
    made, columns = orders_of(trades, market, TERMS, LIMITS, set())
    for place, order in enumerate(made):
        assert order.client_order_id == client_order_id(
            account="a", book="b", session="2020-03-03", decision="d", instrument_id=ids[place], leg=legs[place]
        )
        table = collar_width(float(quoted[place]), LIMITS)
        width = table if np.isnan(sigmas[place]) else max(table, LIMITS.collar_daily_sigmas * sigmas[place])
        if legs[place] is Leg.CLOSE:
            width += reduction_widening(ages[place], LIMITS)
        assert order.limit_price == to_price(float(quoted[place]) * (1.0 + sides[place].sign * width))
    assert OrderTable.of(made) == OrderTable.of(list(made)), "its columns are those of its orders"
    for name in ("instrument", "sign", "quantity", "price", "limit_price", "reduction", "auction", "duplicate", "lot"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(batch_of(made, market.instruments, set()), name), err_msg=name)
    batch = batch_of(made, market.instruments, {made[0].client_order_id})
    assert batch.instrument.tolist() == list(range(n))
    assert batch.duplicate.tolist() == [True, *[False] * (n - 1)]
