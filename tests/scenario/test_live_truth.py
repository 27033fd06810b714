"""Truth: after a day under mixed faults, orders, fills, positions and cash of the journal are the broker's own, to the cent."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.live_house import House

NAMES = ("AAPL", "MSFT", "GOOG", "AMZN", "NVDA", "META", "TSLA", "JPM", "XOM", "KO")
STREAM_FAULTS = ("lost", "dup", "reorder", "drop", "drop_mid_frame", "garbled", "unknown_event", "odd_shape")
REST_FAULTS = (
    {"kind": "timeout", "when": "after", "seconds": 6.0, "route": "POST /v2/orders"},
    {"kind": "reset", "when": "before", "route": "POST /v2/orders"},
    {"kind": "reset", "when": "after", "route": "POST /v2/orders"},
    {"kind": "status", "when": "after", "status": 504, "route": "POST /v2/orders"},
    {"kind": "html", "when": "after", "route": "POST /v2/orders"},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0.2"}, "route": "POST /v2/orders"},
    {"kind": "status", "status": 500, "route": "GET /v2/orders"},
    {"kind": "truncated", "route": "GET /v2/positions"},
    {"kind": "empty", "route": "GET /v2/account"},
)
ORDER_FAULTS = ("fill_on_cancel", "fill_after_cancel", "cancel_stays_open")


class Day:
    """A day's trading at full speed: targets that change again and again, while everything goes wrong now and then."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.rng = house, random.Random(seed)
        self.quantities = dict.fromkeys(NAMES, 0)

    def rebalance(self) -> None:
        """Other quantities for some names, in numbers that are no lots."""
        for name in self.rng.sample(NAMES, 6):
            self.quantities[name] = self.rng.randint(-40, 60)
        self.house.want({"quantities": self.quantities})

    def spoil(self) -> None:
        """Something goes wrong soon."""
        for _ in range(2):
            self.house.exchange.fault(self.rng.choice(STREAM_FAULTS), target="trade", skip=self.rng.randint(0, 8))
        self.house.exchange.fault(**self.rng.choice(REST_FAULTS), skip=self.rng.randint(0, 4))
        if self.rng.random() < 0.5:
            self.house.exchange.fault(self.rng.choice(ORDER_FAULTS), target="order", skip=self.rng.randint(0, 2))

    def live(self) -> None:
        """What happens in a market: prices move, fees and dividends are booked."""
        moved = self.rng.sample(NAMES, 4)
        for name in moved:
            self.house.exchange.move(**{name: 100 + 10 * NAMES.index(name) + self.rng.randint(-50, 50) / 100})
        if self.rng.random() < 0.5:
            self.house.exchange.act("cash", kind="DIV", amount=f"{self.rng.randint(1, 900) / 100:.2f}", symbol=self.rng.choice(NAMES))
        else:
            self.house.exchange.act("cash", kind="FEE", amount=f"-{self.rng.randint(1, 90) / 100:.2f}", description="TAF fee")

    def is_over(self) -> bool:
        """Everything wanted is held, nothing works any more, and both sides have looked."""
        wanted = {name: float(quantity) for name, quantity in self.quantities.items() if quantity}
        if self.house.exchange.held() != wanted or self.house.exchange.open_orders():
            return False
        status = self.house.json("status")
        return not (status["orders_open"] or status["unknown_orders"] or status["gates"]) and self.house.frames("reconciled")[-1].ok


def compare(house: House) -> None:
    """Both books, line by line."""
    truth = house.exchange.truth()
    ours, theirs = defaultdict(lambda: (Decimal(0), Decimal(0))), defaultdict(lambda: (Decimal(0), Decimal(0)))
    for row in house.json("fills"):
        quantity, value = ours[row["client_order_id"]]
        ours[row["client_order_id"]] = (quantity + Decimal(row["quantity"]), value + Decimal(row["quantity"]) * Decimal(row["price"]))
    strangers = {order["client_order_id"] for order in truth["orders"] if order["external"]}
    for fill in truth["fills"]:
        if not fill["busted"]:
            key = "" if fill["client_order_id"] in strangers else fill["client_order_id"]
            quantity, value = theirs[key]
            theirs[key] = (quantity + Decimal(fill["qty"]), value + Decimal(fill["qty"]) * Decimal(fill["price"]))
    assert {key: quantity for key, (quantity, _) in ours.items()} == {key: quantity for key, (quantity, _) in theirs.items()}
    assert {key: round(value, 2) for key, (_, value) in ours.items()} == {key: round(value, 2) for key, (_, value) in theirs.items()}
    assert Decimal(house.json("status")["cash"]).quantize(Decimal("0.01")) == Decimal(truth["cash"]).quantize(Decimal("0.01"))
    held = {row["symbol"]: Decimal(row["quantity"]) for row in house.json("positions")}
    assert held == {symbol: Decimal(quantity) for symbol, quantity in truth["positions"].items() if Decimal(quantity)}
    statuses = {row["client_order_id"]: row["status"] for row in house.json("orders")}
    mine = {order["client_order_id"]: order["status"] for order in truth["orders"] if not order["external"]}
    assert {key: statuses[key] for key in mine} == mine, "an order ended otherwise than the broker says"
    assert len(mine) == sum(not order["external"] for order in truth["orders"]), "an intent became two orders"
    booked = {frame.activity_id for frame in house.frames("cash_posted")}
    assert booked == {line["id"] for line in truth["activities"] if line["activity_type"] in {"DIV", "FEE"}}
    assert house.json("replay", "--verify")["ok"]
    assert house.json("audit", "verify")["ok"]
    assert house.json("reconcile")["ok"]


def trade_a_day(house: House, seed: int, rounds: int, seconds: float) -> Day:
    """Rounds of change and trouble; then the faults end and everything comes to rest."""
    day = Day(house, seed)
    house.exchange.ask("/_settings", {"slices": 3, "fill_delay": 0.03, "positions_lag": 0.3, "activities_lag": 0.2})
    day.rebalance()
    with house.trading():
        house.until(lambda: bool(house.exchange.held()))
        for turn in range(rounds):
            day.rebalance()
            day.spoil()
            day.live()
            if turn == rounds // 2:
                house.exchange.act("external", symbol="KO", side="buy", qty="7")
            time.sleep(seconds)
        house.exchange.server.faults.armed.clear()
        house.until(lambda: "KO" in house.json("status")["frozen"] or bool(house.frames("external_filled")))
        house.json("resume", "--reason", "the purchase of KO was ours, by hand")
        house.until(day.is_over, 90)
        house.want({"quantities": {}})
        time.sleep(0.6)
        house.exchange.act("split", symbol="AAPL", ratio="2")
        held = 2 * day.quantities["AAPL"]
        house.until(
            lambda: [row["quantity"] for row in house.json("positions") if row["symbol"] == "AAPL"] == ([str(held)] if held else [])
        )
        house.until(lambda: house.frames("reconciled")[-1].ok)
    return day


def test_a_short_day_ends_with_equal_books(house: House) -> None:
    day = trade_a_day(house, seed=1, rounds=6, seconds=0.7)
    assert day.quantities["AAPL"] != 0
    compare(house)
    truth = house.exchange.truth()
    assert len(truth["fills"]) > 40
    assert sum(truth["faults_taken"].values()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_long_day_ends_with_equal_books(house_of: Callable[..., House], seed: int) -> None:
    house = house_of()
    trade_a_day(house, seed=seed, rounds=60, seconds=0.8)
    compare(house)
    assert len(house.exchange.truth()["fills"]) > 150
