"""The ledger is a fold: cash and positions always equal what the fills say, whatever their order and size."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import InvariantViolation
from hedgefund_core.trading.instrument import ZERO, Instrument, to_lots, to_money, to_price
from hedgefund_core.trading.ledger import CashKind, Ledger, Position, apply_fill, apply_split, equity, post_cash
from hedgefund_core.trading.order import Leg, Side
from hedgefund_core.trading.rebalance import NoTradeBand, intents_toward, rebalance

prices = st.decimals(min_value="0.01", max_value="5000", places=4)
quantities = st.integers(min_value=1, max_value=100_000).map(Decimal)
sides = st.sampled_from(Side)
fills = st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), sides, quantities, prices), max_size=40)


def fold(rows: list[tuple[str, Side, Decimal, Decimal]], cash: Decimal) -> Ledger:
    ledger = post_cash(Ledger(), CashKind.DEPOSIT, cash)
    for name, side, quantity, price in rows:
        ledger = apply_fill(
            ledger, instrument_id=name, side=side, quantity=quantity, price=price, commission=to_money(quantity * price / 1000)
        )
    return ledger


@given(fills)
def test_positions_are_the_sum_of_fills_and_cash_the_sum_of_lines(rows: list[tuple[str, Side, Decimal, Decimal]]) -> None:
    ledger = fold(rows, Decimal(1_000_000))
    for name in "ABC":
        assert ledger.quantity(name) == sum((q * s.sign for n, s, q, _ in rows if n == name), ZERO)
    assert ledger.cash == sum(ledger.totals.values(), ZERO)
    spent = sum((to_money(q * p * s.sign) + to_money(q * p / 1000) for _, s, q, p in rows), ZERO)
    assert ledger.cash == Decimal(1_000_000) - spent


@given(fills, st.tuples(prices, prices, prices))
def test_equity_is_deposits_plus_realized_plus_unrealized_less_fees(
    rows: list[tuple[str, Side, Decimal, Decimal]], last: tuple[Decimal, Decimal, Decimal]
) -> None:
    ledger = fold(rows, Decimal(1_000_000))
    marks = dict(zip("ABC", last, strict=True))
    unrealized = sum(((marks[n] - p.average_price) * p.quantity for n, p in ledger.positions.items()), ZERO)
    realized = sum((p.realized_pnl for p in ledger.positions.values()), ZERO)
    fees = sum((to_money(q * p / 1000) for _, _, q, p in rows), ZERO)
    # the average cost is kept to six places: each fill may leave half a millionth a share behind
    room = sum((q for _, _, q, _ in rows), Decimal(1)) * Decimal("0.000001") * (len(rows) + 1)
    assert abs(equity(ledger, marks) - (Decimal(1_000_000) + realized + unrealized - fees)) <= room


odd = st.decimals(min_value=-5000, max_value=5000, places=9) | quantities | st.just(ZERO) | st.just(Decimal("1E+2"))


@given(st.lists(odd, max_size=4), st.lists(prices | st.just(Decimal("0.000001")), min_size=4, max_size=4), prices)
def test_equity_is_cash_and_each_position_to_six_places(held: list[Decimal], last: list[Decimal], cash: Decimal) -> None:
    ledger = Ledger(cash=cash, positions={str(n): Position(quantity=quantity) for n, quantity in enumerate(held)})
    wanted = cash
    for quantity, price in zip(held, last, strict=False):
        wanted += to_money(quantity * price) if quantity != ZERO else 0
    assert equity(ledger, {str(n): price for n, price in enumerate(last)}).as_tuple() == wanted.as_tuple()


@given(st.integers(-50_000, 50_000).map(Decimal), st.integers(-50_000, 50_000).map(Decimal))
def test_legs_reach_the_target_and_a_closing_leg_never_adds(held: Decimal, target: Decimal) -> None:
    instrument = Instrument(instrument_id="A", symbol="A")
    position = held
    for intent in intents_toward(instrument, held, target, Decimal(10)):
        after = position + intent.quantity * intent.side.sign
        if intent.leg is Leg.CLOSE:
            assert abs(after) < abs(position)
            assert after * position >= ZERO
        position = after
    assert position == target


@given(st.integers(-10_000, 10_000).map(Decimal), st.sampled_from([Decimal(2), Decimal(3), Decimal("1.5"), Decimal("0.1")]))
def test_a_split_keeps_the_total_cost(held: Decimal, ratio: Decimal) -> None:
    ledger = Ledger()
    if held:
        side = Side.BUY if held > ZERO else Side.SELL
        ledger = apply_fill(ledger, instrument_id="A", side=side, quantity=abs(held), price=Decimal(30), commission=ZERO)
    after = to_lots(held * ratio, Decimal(1))
    split = apply_split(ledger, instrument_id="A", quantity_after=after, cash_in_lieu=ZERO)
    assert split.quantity("A") == after
    if after:
        assert abs(split.positions["A"].average_price * after - 30 * held) <= abs(after) * Decimal("0.000001")


def test_an_exit_is_never_skipped_by_the_band_and_a_small_change_is() -> None:
    instrument = Instrument(instrument_id="A", symbol="A")
    band = NoTradeBand()

    def trades(weight: str, held: int) -> list[Decimal]:
        found = rebalance([instrument], {"A": Decimal(weight)}, {"A": Decimal(held)}, {"A": Decimal(100)}, Decimal(100_000), band)
        return [intent.quantity * intent.side.sign for intent in found]

    assert trades("0", 1) == [Decimal(-1)]
    assert trades("0.10", 99) == []
    assert trades("0.10", 95) == [Decimal(5)]
    assert trades("0.004", 3) == [Decimal(1)]  # 10 bp of equity, but 25 % of the target


def test_an_impossible_fill_breaks_the_books_loudly() -> None:
    with pytest.raises(InvariantViolation, match="impossible fill"):
        apply_fill(Ledger(), instrument_id="A", side=Side.BUY, quantity=ZERO, price=Decimal(1), commission=ZERO)
    with pytest.raises(InvariantViolation, match="no price"):
        equity(apply_fill(Ledger(), instrument_id="A", side=Side.BUY, quantity=Decimal(1), price=Decimal(1), commission=ZERO), {})


def test_the_border_rounds_half_even_and_exactly() -> None:
    assert to_price(0.1 + 0.2) == Decimal("0.300000")
    assert to_price(2.0000005) == Decimal("2.000001")  # the binary value lies above the tie
    assert to_money(Decimal("0.0000025")) == Decimal("0.000002")
    assert to_lots(Decimal("-7.9"), Decimal(1)) == Decimal(-7)
