"""A live account on a bench: feeds inputs as the runtime would, and keeps what came out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from hedgefund_core.account import State
from hedgefund_core.machine import CancelOrder, Command, LookUpOrder, Record, SubmitOrder, step
from hedgefund_core.risk.limits import Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instrument
from tests.builders import mandate

START = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)  # a Monday, half an hour after the open
NAMES = ("AAA", "BBB", "CCC", "DDD")


def session(day: int = 0) -> str:
    return str((START + timedelta(days=day)).date())


class LiveBench:
    """One discretionary account with 100,000 and four names at 100."""

    def __init__(self, *, names: tuple[str, ...] = NAMES, cash: int = 100_000, book: Mandate | None = None, ready: bool = True) -> None:
        self.state, self.commands, self.inputs, self.outputs = State(), list[Command](), list[e.Input](), list[bytes]()
        self.now, self.day, self.names = START, 0, names
        chosen = book or mandate("discretionary")
        instruments = tuple(Instrument(instrument_id=name, symbol=name) for name in names)
        self.feed(
            e.AccountOpened(
                ts=self.now, account="live", book=chosen.name, mode="paper", broker="alpaca", instruments=instruments,
                initial_cash=Decimal(cash), source="alpaca", price_kind="raw",
            )
        )  # fmt: skip
        self.feed(e.ConfigurationLoaded(ts=self.now, digest="d", mandate=msgspec.Raw(digest_payload(chosen))))
        if ready:
            self.begin()

    # ---- inputs ----------------------------------------------------------------------------------------------------------

    def begin(self, day: int = 0) -> None:
        self.day, self.now = day, START + timedelta(days=day)
        self.feed(e.SessionBegan(ts=self.now, session=session(day)))
        for name in self.names:
            self.status(name)
        self.prices()

    def end(self) -> list[Command]:
        return self.feed(e.SessionEnded(ts=self.now, session=session(self.day)))

    def feed(self, event: e.Input) -> list[Command]:
        self.state, self.commands = step(self.state, event)
        self.inputs.append(event)
        self.outputs += [e.encode(command.frame) for command in self.commands if isinstance(command, Record)]
        return self.commands

    def tick(self, seconds: float = 1.0) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def prices(
        self, age: float = 0.5, half_spread: float = 0.01, bands: tuple[e.Row, e.Row] | None = None, **given: float | None
    ) -> list[Command]:
        known = {name: given.get(name, self._last(name)) for name in self.names}
        row = tuple(known.values())
        bid = tuple(None if price is None else round(price - half_spread, 4) for price in row)
        ask = tuple(None if price is None else round(price + half_spread, 4) for price in row)
        ages = tuple(None if price is None else age for price in row)
        seen = e.PricesSeen(ts=self.tick(), session=session(self.day), price=row, bid=bid, ask=ask, age_seconds=ages, bands=bands)
        return self.feed(seen)

    def _last(self, name: str) -> float:
        mark = self.state.marks[self.names.index(name)]
        return 100.0 if mark is None else float(mark)

    def status(self, name: str, **changes: object) -> list[Command]:
        seen = e.InstrumentStatusSeen(
            ts=self.tick(0.01), instrument_id=name, tradable=True, halted=False, shortable=True, easy_to_borrow=True
        )
        return self.feed(replace(seen, **changes))

    def decide(self, weights: dict[str, float] | None = None, ahead: int = 0, force: str = "day", **quantities: int) -> list[e.Order]:
        due = e.DecisionDue(
            ts=self.tick(), session=session(self.day), for_session=session(self.day + ahead), time_in_force=force, rebalance=True,
            target_weights=weights, target_quantities={name: Decimal(shares) for name, shares in quantities.items()} or None,
        )  # fmt: skip
        self.feed(due)
        return self.sent()

    def order(self, name: str, side: str, quantity: float | str, /, request: str = "q1", **changes: object) -> list[e.Order]:
        asked = e.OrderRequested(
            ts=self.tick(), request_id=request, instrument_id=name, side=e.Side(side), quantity=Decimal(str(quantity)),
            order_type=e.OrderType.MARKET, limit_price=None, time_in_force=e.TimeInForce.DAY, session=session(self.day), person="ann",
            reason="",
        )  # fmt: skip
        self.feed(replace(asked, **changes))
        return self.sent()

    def cancel(self, name: str = "", request: str = "c1") -> list[str]:
        self.feed(e.CancelRequested(ts=self.tick(), request_id=request, client_order_id=name, person="ann", reason=""))
        return self.canceled()

    def halt(self, level: int) -> list[Command]:
        return self.feed(e.HaltRequested(ts=self.tick(), level=level, reason="drill", person="ann", session=session(self.day)))

    # ---- the broker ------------------------------------------------------------------------------------------------------------

    def news(self, kind: type[Any], **fields: object) -> list[Command]:
        return self.feed(kind(ts=self.tick(), broker_seq=self.state.broker_seq + 1, **fields))

    def accept(self, order: e.Order) -> list[Command]:
        return self.news(e.OrderAccepted, client_order_id=order.client_order_id, broker_order_id=f"b-{order.client_order_id}")

    def fill(self, order: e.Order, quantity: object = None, price: str = "100") -> list[Command]:
        shares = self.state.known_orders[order.client_order_id].remaining if quantity is None else Decimal(str(quantity))
        total = self.state.known_orders[order.client_order_id].filled_quantity + shares
        return self.news(
            e.OrderFilled, client_order_id=order.client_order_id, broker_order_id=f"b-{order.client_order_id}",
            fill_id=f"b-{order.client_order_id}:{total}", quantity=shares, price=Decimal(price), commission=ZERO, session=session(self.day),
        )  # fmt: skip

    def canceled_by_broker(self, order: e.Order) -> list[Command]:
        return self.news(e.OrderCanceled, client_order_id=order.client_order_id)

    def report(self, **changes: object) -> list[Command]:
        seen = e.BrokerReported(
            ts=self.tick(), session=session(self.day), cash=self.state.ledger.cash,
            positions={key: p.quantity for key, p in self.state.ledger.positions.items() if p.quantity},
            open_orders=tuple(sorted(order.client_order_id for order in self.state.working)), last_broker_seq=self.state.broker_seq,
            lagging=True, buying_power=Decimal(400_000),
        )  # fmt: skip
        return self.feed(replace(seen, **changes))

    # ---- what came out ------------------------------------------------------------------------------------------------------------

    def sent(self) -> list[e.Order]:
        return [command.order for command in self.commands if isinstance(command, SubmitOrder)]

    def canceled(self) -> list[str]:
        return [command.client_order_id for command in self.commands if isinstance(command, CancelOrder)]

    def looked_up(self) -> list[str]:
        return [command.client_order_id for command in self.commands if isinstance(command, LookUpOrder)]

    def frames(self, kind: type[Any]) -> list[Any]:
        return [command.frame for command in self.commands if isinstance(command, Record) and isinstance(command.frame, kind)]

    def denied(self) -> dict[str, str]:
        return {order.symbol: order.denied_by for frame in self.frames(e.OrdersDenied) for order in frame.orders}

    def held(self, name: str = "AAA") -> Decimal:
        return self.state.ledger.quantity(name)

    def hold(self, **shares: int) -> None:
        """Arrive at positions by ordinary decisions and fills."""
        for order in self.decide(**shares):
            self.fill(order)

    def replayed(self) -> list[bytes]:
        """The outputs of the inputs folded again, from their bytes."""
        state, outputs = State(), list[bytes]()
        for event in self.inputs:
            state, commands = step(state, e.decode(e.encode(event)))  # type: ignore[arg-type]
            outputs += [e.encode(command.frame) for command in commands if isinstance(command, Record)]
        return outputs
