"""What a broker takes: each row of the table, each window to the minute, each tick."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from hedgefund_core.trading.capabilities import ALPACA, Asked, Market, in_force, refusal, tick_of, to_tick
from hedgefund_core.trading.order import OrderType, Side, TimeInForce

NOON = datetime(2026, 11, 16, 17, 0, tzinfo=UTC)
BUY = Asked(side=Side.BUY, quantity=Decimal(10), order_type=OrderType.LIMIT, time_in_force=TimeInForce.DAY, limit_price=Decimal("100.01"))
ANY = Market()


def at(hour: int, minute: int, *, summer: bool = False) -> datetime:
    """New York time on a day of winter or summer."""
    return datetime(2026, 7 if summer else 11, 16, (hour + (4 if summer else 5)) % 24, minute, tzinfo=UTC)


def test_an_ordinary_order_is_taken() -> None:
    assert refusal(BUY, NOON, ANY) is None


@pytest.mark.parametrize(
    ("change", "market", "why"),
    [
        ({}, {"tradable": False}, "not tradable"),
        ({"limit_price": None}, {}, "needs a limit price"),
        ({"limit_price": Decimal("100.005")}, {}, "tick 0.01"),
        ({"limit_price": Decimal("0.50005")}, {}, "tick 0.0001"),
        ({"quantity": Decimal("1.5")}, {"fractionable": False}, "whole shares"),
        ({"quantity": Decimal("1.5"), "time_in_force": TimeInForce.OPG}, {}, "09:28"),
        ({"side": Side.SELL, "quantity": Decimal("1.5"), "opens_short": True}, {}, "cannot be sold short"),
        ({"side": Side.SELL, "opens_short": True}, {"easy_to_borrow": False}, "cannot be sold short"),
        ({"side": Side.SELL, "opens_short": True}, {"shortable": False}, "cannot be sold short"),
        ({"order_type": OrderType.MARKET, "limit_price": None, "extended_hours": True}, {}, "outside regular hours"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_reason(change: dict[str, object], market: dict[str, bool], why: str) -> None:
    found = refusal(replace(BUY, **change), NOON, replace(ANY, **market))
    assert found is not None
    assert why in found


@pytest.mark.parametrize("summer", [True, False])
@pytest.mark.parametrize(
    ("force", "hour", "minute", "taken"),
    [
        (TimeInForce.OPG, 9, 27, True),
        (TimeInForce.OPG, 9, 28, False),
        (TimeInForce.OPG, 16, 30, False),
        (TimeInForce.OPG, 18, 59, False),
        (TimeInForce.OPG, 19, 0, True),
        (TimeInForce.OPG, 2, 0, True),
        (TimeInForce.CLS, 15, 49, True),
        (TimeInForce.CLS, 15, 50, False),
        (TimeInForce.CLS, 18, 59, False),
        (TimeInForce.CLS, 19, 0, True),
        (TimeInForce.DAY, 23, 0, True),
    ],
)
def test_windows_are_of_new_york_in_summer_and_in_winter(force: TimeInForce, hour: int, minute: int, taken: bool, summer: bool) -> None:
    assert (refusal(replace(BUY, time_in_force=force), at(hour, minute, summer=summer), ANY) is None) is taken


def test_the_table_is_dated() -> None:
    half = replace(BUY, quantity=Decimal("0.5"))
    assert refusal(half, datetime(2023, 9, 1, 15, tzinfo=UTC), ANY) == "fractions of shares are taken for the day only"
    assert refusal(half, NOON, ANY) is None
    assert in_force(date(1999, 1, 1)) is ALPACA[0]
    assert in_force(date(2026, 1, 1)) is ALPACA[-1]
    assert all(row.source for row in ALPACA)


def test_prices_are_rounded_to_their_tick() -> None:
    assert (tick_of(Decimal(1)), tick_of(Decimal("0.9999"))) == (Decimal("0.01"), Decimal("0.0001"))
    assert to_tick(Decimal("100.014"), up=True) == Decimal("100.02")
    assert to_tick(Decimal("100.019"), up=False) == Decimal("100.01")
    assert to_tick(Decimal("0.12345"), up=False) == Decimal("0.1234")
    assert to_tick(Decimal("0.00001"), up=False) == Decimal("0.0001")
