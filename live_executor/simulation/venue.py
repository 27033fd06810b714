"""A clean exchange with a book of its own: orders, fills, positions, cash, activities, all in Decimal. The truth of a simulated run.

It never reads the journal and never lies; what is lost, late or wrong on the way to the executor is the business of ``faults.py``.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

from msgspec.structs import replace

from hedgefund_core.errors import OrderRejected
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    Channel,
    FillSighting,
    OrderSighting,
    PositionSighting,
)
from hedgefund_core.trading.order import Order, Side
from live_executor.simulation.market import CENT, Market

_OPEN = frozenset({"new", "partially_filled", "pending_cancel", "done_for_day"})
_AVERAGE = Decimal("0.000001")
START_CASH = Decimal(100_000)
MULTIPLIER = Decimal(4)


@dataclasses.dataclass(slots=True, kw_only=True)
class Execution:
    """One fill."""

    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    at: datetime
    number: int
    busted: bool = False


@dataclasses.dataclass(slots=True, kw_only=True)
class VenueOrder:
    """One order as the exchange has it."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit: Decimal | None
    force: str
    created_at: datetime
    updated_at: datetime
    status: str = "new"
    external: bool = False
    fills: list[Execution] = dataclasses.field(default_factory=list)
    stuck: bool = False
    """It neither fills nor ends by itself."""
    deaf: bool = False
    """Cancels are acknowledged and do nothing."""
    name: str
    """What its shares are called now."""
    word: str = ""
    """What the exchange says it is meanwhile, whatever it is."""
    replaced_by: str = ""
    reason: str = ""

    @property
    def standing(self) -> list[Execution]:
        """Fills that were not taken back."""
        return [fill for fill in self.fills if not fill.busted]

    @property
    def filled(self) -> Decimal:
        """Shares."""
        return sum((fill.quantity for fill in self.standing), ZERO)

    @property
    def value(self) -> Decimal:
        """Shares times price."""
        return sum((fill.quantity * fill.price for fill in self.standing), ZERO)

    @property
    def remaining(self) -> Decimal:
        """Shares that may still trade."""
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        """Whether it is in the market."""
        return self.status in _OPEN

    def sighting(self, channel: Channel, at: datetime, *, event: str = "", fill: Execution | None = None) -> OrderSighting:
        """It as an update or an answer shows it."""
        filled = self.filled
        shown = None
        if fill is not None:
            shown = FillSighting(
                execution_id=f"x{fill.number}", quantity=fill.quantity, price=fill.price, cumulative_quantity=fill.cumulative, at=fill.at
            )
        return OrderSighting(
            client_order_id=self.client_order_id, broker_order_id=self.broker_order_id, symbol=self.name, side=self.side.value,
            quantity=self.quantity, filled_quantity=filled, average_price=(self.value / filled).quantize(_AVERAGE) if filled else None,
            status=self.word or self.status, channel=channel, at=at, event=event, fill=shown,
            order_type="market" if self.limit is None else "limit", time_in_force=self.force, limit_price=self.limit,
            replaced_by=self.replaced_by, reason=self.reason,
        )  # fmt: skip


Emit = Callable[[OrderSighting | ActivitySighting], None]


class Books:
    """The account as the exchange has it, and what it says and answers about it."""

    def __init__(self, market: Market, rng: random.Random) -> None:
        self.market, self._rng = market, rng
        self.cash = START_CASH
        self.positions: dict[str, Decimal] = {}
        self.costs: dict[str, Decimal] = {}
        self.orders: dict[str, VenueOrder] = {}
        self.activities: list[ActivitySighting] = []
        self.emit: Emit = lambda _seen: None
        self.thin: set[str] = set()
        self._serial = 0
        self.shortable = dict.fromkeys(market.mid, True)
        self.reused: set[str] = set()
        self.on_wrong_company: Callable[[str], None] = lambda _name: None

    def now(self) -> datetime:
        """The market's time."""
        return self.market.hours.now()

    def open_orders(self, symbol: str = "") -> list[VenueOrder]:
        """Orders in the market."""
        return [order for order in self.orders.values() if order.is_open and symbol in {"", order.symbol}]

    # ---- what it says ------------------------------------------------------------------------------------------------

    def _say(self, order: VenueOrder, event: str, fill: Execution | None = None) -> None:
        order.updated_at = self.now()
        self.emit(order.sighting(Channel.STREAM, order.updated_at, event=event, fill=fill))

    def _line(
        self,
        kind: str,
        *,
        order: VenueOrder | None = None,
        fill: Execution | None = None,
        amount: Decimal | None = None,
        symbol: str = "",
        quantity: Decimal | None = None,
        words: str = "",
    ) -> None:
        now = self.now()
        number = f"{now:%Y%m%d%H%M%S%f}::{len(self.activities):06d}"
        if order is not None and fill is not None:
            line = ActivitySighting(
                activity_id=number, activity_type=kind, at=now, symbol=order.name, broker_order_id=order.broker_order_id,
                side=order.side.value, quantity=fill.quantity, price=fill.price, cumulative_quantity=fill.cumulative,
            )  # fmt: skip
        else:
            day = now.replace(hour=0, minute=0, second=0, microsecond=0)
            line = ActivitySighting(
                activity_id=number,
                activity_type=kind,
                at=day,
                symbol=self.market.name(symbol),
                net_amount=amount,
                quantity=quantity,
                description=words,
            )
        self.activities.append(line)

    # ---- what it answers ---------------------------------------------------------------------------------------------

    def account(self) -> AccountSighting:
        """Cash and what it buys."""
        worth = {symbol: quantity * self.market.mid[symbol] for symbol, quantity in self.positions.items()}
        equity = self.cash + sum(worth.values(), ZERO)
        used = sum((abs(value) for value in worth.values()), ZERO)
        return AccountSighting(
            account_number="", status="ACTIVE", cash=self.cash, equity=equity, buying_power=max(equity * MULTIPLIER - used, ZERO),
            multiplier=MULTIPLIER, shorting_enabled=True,
        )  # fmt: skip

    def held(self) -> list[PositionSighting]:
        """Positions that are not zero."""
        return [
            PositionSighting(
                symbol=self.market.name(symbol),
                quantity=quantity,
                average_price=self.costs.get(symbol, ZERO),
                asset_id=f"id-{symbol}",
            )
            for symbol, quantity in sorted(self.positions.items())
            if quantity != ZERO
        ]

    def asset(self, symbol: str) -> AssetSighting | None:
        """What may be done with a name."""
        known = self.market.meant(symbol) or (symbol.removeprefix("id-") if symbol.startswith("id-") else "")
        if not known:
            return self._other(symbol) if symbol in self.reused else None
        lent = self.shortable[known]
        return AssetSighting(
            asset_id=f"id-{known}", symbol=self.market.name(known), exchange="SIM", tradable=True, shortable=lent, easy_to_borrow=lent,
            fractionable=False, status="active",
        )  # fmt: skip

    def _other(self, symbol: str) -> AssetSighting:
        """Another company under a name that was ours."""
        return AssetSighting(
            asset_id=f"other-{symbol}", symbol=symbol, exchange="SIM", tradable=True, shortable=True, easy_to_borrow=True,
            fractionable=False, status="active",
        )  # fmt: skip

    def rename(self, symbol: str, *, reused: bool) -> None:
        """From here on the shares have another name; the old one is nobody's, or somebody else's."""
        self.market.renamed[symbol] = f"{symbol}X"
        for order in self.orders.values():
            order.name = self.market.name(order.symbol)
        if reused:
            self.reused.add(symbol)

    def shown(self, since: datetime | None) -> list[OrderSighting]:
        """Open orders; with ``since`` those that ended after it, too."""
        wanted = [order for order in self.orders.values() if order.is_open or (since is not None and order.updated_at >= since)]
        return [order.sighting(Channel.QUERY, order.updated_at) for order in wanted]

    def look_up(self, name: str) -> OrderSighting | None:
        """One order."""
        order = self.orders.get(name)
        return None if order is None else order.sighting(Channel.QUERY, order.updated_at)


class Matching(Books):
    """Orders come, trade and end."""

    # ---- orders ------------------------------------------------------------------------------------------------------

    def accept(self, order: Order) -> VenueOrder:
        """Take an order, or raise OrderRejected; an id that is there gives the order that has it."""
        there = self.orders.get(order.client_order_id)
        if there is not None:
            return there
        known = self.market.meant(order.symbol)
        if not known:
            if (
                order.symbol in self.reused and order.instrument_id.startswith("id-") and self.market.hours.is_open
            ):  # before it the day's names may be unread still
                self.on_wrong_company(order.client_order_id)
            raise OrderRejected(f"asset {order.symbol} not found", mend="the reason is the broker's")
        order = replace(order, symbol=known)
        reason = self._refusal(order)
        if reason:
            raise OrderRejected(reason, mend="the reason is the broker's")
        return self._enter(order.client_order_id, order.symbol, order.side, order.quantity, order.limit_price, order.time_in_force.value)

    def _refusal(self, order: Order) -> str:
        mine, held, sign = self.open_orders(order.symbol), self.positions.get(order.symbol, ZERO), order.side.sign
        if any(other.side is not order.side for other in mine):
            return "potential wash trade detected"
        claimed = sum((other.remaining for other in mine if other.side.sign * held < ZERO), ZERO)
        if held * sign < ZERO and order.quantity > abs(held) - claimed:
            return "insufficient qty available for order"
        if order.limit_price is not None and order.limit_price % CENT:
            return "sub-penny increment"
        opened = self.market.hours
        if order.time_in_force.value == "day" and not opened.is_open and opened.session() != order.session:
            return "not for this session"
        if order.time_in_force.value == "opg" and (opened.is_open or opened.session() != order.session):
            return "the opening auction is over"
        return ""

    def _enter(self, name: str, symbol: str, side: Side, quantity: Decimal, limit: Decimal | None, force: str) -> VenueOrder:
        self._serial += 1
        now = self.now()
        order = VenueOrder(
            client_order_id=name, broker_order_id=f"b{self._serial}", symbol=symbol, name=self.market.name(symbol), side=side,
            quantity=quantity, limit=limit,
            force=force, created_at=now, updated_at=now,
        )  # fmt: skip
        self.orders[name] = order
        self._say(order, "new")
        return order

    def take_late(self, order: Order) -> VenueOrder:
        """Tell of an order long after it has come: after the close it is over at once."""
        there = self._enter(order.client_order_id, order.symbol, order.side, order.quantity, order.limit_price, order.time_in_force.value)
        if not self.market.hours.is_open:
            self.end(there, "expired")
        return there

    def trade_by_hand(self, symbol: str, quantity: Decimal) -> None:
        """Somebody else trades on the account, at once."""
        side = Side.BUY if quantity > ZERO else Side.SELL
        order = self._enter(f"hand-{self._serial}", symbol, side, abs(quantity), None, "day")
        order.external = True
        self.fill(order, order.quantity)

    def cancel(self, name: str) -> None:
        """Take an order out of the market, if it listens."""
        order = self.orders.get(name)
        if order is not None and order.is_open and not order.deaf:
            self.end(order, "canceled")

    def end(self, order: VenueOrder, status: str, *, reason: str = "") -> None:
        """Move an order and say so."""
        order.status, order.reason, order.word = status, reason, ""
        self._say(order, status)

    def say_word(self, order: VenueOrder, word: str) -> None:
        """Say that an order is something else meanwhile; the empty word ends it."""
        order.word = word
        if word == "calculated":
            order.status = "done_for_day"
        self._say(order, word or order.status)

    def refuse_cancel(self, name: str) -> None:
        """A cancel is not carried out, and that is said on the stream only."""
        order = self.orders.get(name)
        if order is not None and order.is_open:
            self._say(order, "order_cancel_rejected")

    def replace(self, order: VenueOrder) -> None:
        """Somebody puts another order in its place, which then is cancelled."""
        other = self._enter(f"hand-{self._serial}", order.symbol, order.side, order.remaining, order.limit, order.force)
        other.external, order.replaced_by = True, other.broker_order_id
        self.end(order, "replaced")
        self.end(other, "canceled")

    # ---- fills -------------------------------------------------------------------------------------------------------

    def fill(self, order: VenueOrder, quantity: Decimal) -> None:
        """Trade at the market, whatever state the order is in."""
        bid, ask = self.market.quote(order.symbol)
        price = ask if order.side is Side.BUY else bid
        if order.limit is not None and not order.is_open:
            price = order.limit
        self._serial += 1
        order.word = ""
        fill = Execution(quantity=quantity, price=price, cumulative=order.filled + quantity, at=self.now(), number=self._serial)
        order.fills.append(fill)
        self._book(order.symbol, quantity * order.side.sign, price)
        whole = order.remaining <= ZERO
        if order.is_open or whole:
            order.status = "filled" if whole else order.status if order.status == "done_for_day" else "partially_filled"
        self._line("FILL", order=order, fill=fill)
        self._say(order, "fill" if whole else "partial_fill", fill)

    def _book(self, symbol: str, signed: Decimal, price: Decimal) -> None:
        self.positions[symbol] = self.positions.get(symbol, ZERO) + signed
        self.costs[symbol] = price
        self.cash -= signed * price

    def bust(self, order: VenueOrder) -> None:
        """Take the last fill back."""
        fill = order.standing[-1]
        fill.busted = True
        self._book(order.symbol, -fill.quantity * order.side.sign, fill.price)
        told = dataclasses.replace(fill, at=self.now())
        self._say(order, "trade_bust", told)

    def correct(self, order: VenueOrder) -> None:
        """Change the price of the last fill."""
        fill = order.standing[-1]
        self._book(order.symbol, -fill.quantity * order.side.sign, fill.price)
        fill.price += CENT
        self._book(order.symbol, fill.quantity * order.side.sign, fill.price)
        self._say(order, "trade_correct", dataclasses.replace(fill, at=self.now()))

    def match(self) -> None:
        """Fill what the market reaches."""
        if not self.market.hours.is_open:
            return
        for order in self.open_orders():
            if order.stuck or order.symbol in self.market.halted or order.status == "done_for_day" or order.force == "opg":
                continue
            bid, ask = self.market.quote(order.symbol)
            reached = order.limit is None or (order.limit >= ask if order.side is Side.BUY else order.limit <= bid)
            chance = 0.12 if order.symbol in self.thin else 0.6
            if reached and self._rng.random() < chance:
                self._fill_some(order)

    def _fill_some(self, order: VenueOrder) -> None:
        part = (order.remaining * Decimal(str(round(self._rng.random(), 2)))).to_integral_value(rounding=ROUND_FLOOR)
        whole = order.symbol not in self.thin and self._rng.random() < 0.6
        self.fill(order, order.remaining if whole or part < 1 else part)


class Venue(Matching):
    """The exchange through its days."""

    # ---- sessions ----------------------------------------------------------------------------------------------------

    def auction(self) -> None:
        """The opening auction: what it does not fill expires."""
        for order in self.open_orders():
            if order.force == "opg":
                bid, ask = self.market.quote(order.symbol)
                reached = order.limit is None or (order.limit >= ask if order.side is Side.BUY else order.limit <= bid)
                traded = order.remaining if order.symbol not in self.thin else order.remaining // 2
                if reached and traded and order.symbol not in self.market.halted:
                    self.fill(order, traded)
                if order.is_open:
                    self.end(order, "expired")

    def close_session(self) -> None:
        """What was for the day is over."""
        for order in self.open_orders():
            if order.force == "day":
                order.deaf = order.stuck = False
                self.end(order, "expired")

    def post(self, kind: str, amount: Decimal, symbol: str = "") -> None:
        """A cash line."""
        self.cash += amount
        self._line(kind, amount=amount, symbol=symbol)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """New shares for old; fractions are paid out; orders in old shares leave the market."""
        for order in self.open_orders(symbol):
            self.end(order, "canceled")
        held = self.positions.get(symbol, ZERO)
        exact = held * ratio
        after = exact.to_integral_value(rounding=ROUND_FLOOR) if held > ZERO else -((-exact).to_integral_value(rounding=ROUND_FLOOR))
        self.market.mid[symbol] = (self.market.mid[symbol] / ratio).quantize(CENT)
        self.market.split[symbol, self.market.hours.session()] = ratio
        in_lieu = ((exact - after) * self.market.mid[symbol]).quantize(CENT)
        self.positions[symbol] = after
        self.cash += in_lieu
        if held != ZERO:
            words = f"{ratio:f} for 1 split"
            self._line("SPLIT", amount=in_lieu, symbol=symbol, quantity=after - held, words=words)
