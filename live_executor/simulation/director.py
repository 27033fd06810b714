"""Who carries out the plan: moves the market, strikes with faults, plays the people, and aims at orders in a state of the plan's choice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Order, OrderMove, OrderStatus, OrderType, Side
from live_executor.commands import Cancel, Halt, OperatorCommand, Place, Resume
from live_executor.simulation.accidents import Accidents
from live_executor.simulation.plan import SYMBOLS, Fault, Kind
from live_executor.simulation.venue import VenueOrder

if TYPE_CHECKING:
    from live_executor.simulation.world import World

TICK_SECONDS = 0.15
_MATCH_EVERY = 2
_PERSON = "ann"
_UNHEARD = frozenset({OrderStatus.PENDING_NEW.value, OrderStatus.UNKNOWN.value})
_AFTER_SEND = frozenset({OrderMove.LOSE.value, OrderMove.ABSENT.value})


class Director:
    """The plan's hands."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._aims: list[Fault] = []
        self._splits: list[Fault] = []
        self._crashes: list[Fault] = []
        self._written = 0
        self._day = (-1, False)
        self._acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.DROP: self._drop, Kind.MUTE: self._mute,
            Kind.REFUSE: self._refuse, Kind.FEED_DROP: self._feed_drop, Kind.THIN: self._thin, Kind.HALT: self._halt,
            Kind.JUMP: self._jump, Kind.SPLIT: self._split, Kind.DIVIDEND: self._dividend, Kind.FEE: self._fee,
            Kind.MANUAL: self._by_hand, Kind.AIM: self._aims.append, Kind.TARGETS: self._targets, Kind.STOP_LEVEL: self._stop_level,
            Kind.RESUME: self._resume, Kind.PLACE: self._place, Kind.CANCEL: self._cancel, Kind.TERMINATE: self._terminate,
            Kind.CRASH: self._crashes.append, Kind.CUT: self._cut, Kind.FSYNC: self._fsync, Kind.DISK_FULL: self._disk_full,
        }  # fmt: skip
        self.accidents = Accidents(world, random.Random(f"{world.plan.seed} accidents"))  # noqa: S311 - a simulation's chance, no secret
        self._acts |= self.accidents.acts
        world.wire.on_accept = self._on_accept
        world.wire.on_send = self._on_send

    async def run(self) -> None:
        """For ever."""
        ticks = 0
        while True:
            self._turn_of_day()
            for fault in self._world.weather.due(tuple(self._acts)):
                self._acts[fault.kind](fault)
            self.aim()
            self.accidents.look()
            if ticks % _MATCH_EVERY == 0:
                self._world.market.tick()
                self._world.venue.match()
            ticks += 1
            await asyncio.sleep(TICK_SECONDS)

    def _turn_of_day(self) -> None:
        hours, venue = self._world.hours, self._world.venue
        day, running = hours.day_number, hours.is_open
        before, was_running = self._day
        if day != before and before >= 0:
            for fault in self._splits:
                if fault.symbol not in self._world.market.renamed:
                    venue.split(fault.symbol, Decimal(str(fault.number)))
            self._splits.clear()
            self.accidents.at_night()
        if running and not was_running:
            venue.auction()
        if was_running and not running:
            venue.close_session()
        self._day = (day, running)

    def heal(self) -> None:
        """The storm is over."""
        world = self._world
        world.weather.calm = True
        world.disk.full, world.disk.fail_next = False, None
        for symbol in tuple(world.market.halted):
            world.market.halt(symbol, on=False)
        world.venue.thin.clear()
        self.accidents.heal()
        world.wire.door.calm()
        for order in world.venue.orders.values():
            order.stuck = order.deaf = False
            if order.status == "done_for_day":
                world.venue.end(order, "expired")
        self._aims.clear()
        self._crashes.clear()
        world.loop.turns_left = None

    # ---- streams, market, venue --------------------------------------------------------------------------------------

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, act)

    def _drop(self, fault: Fault) -> None:
        self._world.wire.door.drop(fault.seconds)

    def _refuse(self, fault: Fault) -> None:
        self._world.wire.door.refuse(int(fault.number), fault.seconds)

    def _mute(self, fault: Fault) -> None:
        door = self._world.wire.door
        door.mute = True

        def hear() -> None:
            door.mute = False

        self._later(fault.seconds, hear)

    def _feed_drop(self, fault: Fault) -> None:
        feed = self._world.feed
        if feed is not None:
            feed.link(up=False)
            self._later(fault.seconds, lambda: feed.link(up=True))

    def _thin(self, fault: Fault) -> None:
        self._world.venue.thin.add(fault.symbol)
        self._later(fault.seconds, lambda: self._world.venue.thin.discard(fault.symbol))

    def _halt(self, fault: Fault) -> None:
        self._world.market.halt(fault.symbol, on=True)
        self._later(fault.seconds, lambda: self._world.market.halt(fault.symbol, on=False))

    def _jump(self, fault: Fault) -> None:
        mid = self._world.market.mid
        mid[fault.symbol] = (mid[fault.symbol] * (1 + Decimal(str(fault.number)))).quantize(Decimal("0.01"))

    def _split(self, fault: Fault) -> None:
        """At the next night, if it is not withdrawn; announced or not."""
        if fault.text != "withdrawn":
            self._splits.append(fault)
        if fault.text:
            self.accidents.announce(fault)

    def _dividend(self, fault: Fault) -> None:
        held = self._world.venue.positions.get(fault.symbol, ZERO)
        if held:
            self._world.venue.post("DIV", (held * Decimal("0.17")).quantize(Decimal("0.01")), fault.symbol)

    def _fee(self, fault: Fault) -> None:
        self._world.venue.post("FEE", Decimal("-0.37"))

    def _by_hand(self, fault: Fault) -> None:
        if self._world.hours.is_open and fault.symbol not in self._world.market.halted:
            self._world.venue.trade_by_hand(fault.symbol, Decimal(str(int(fault.number))))

    # ---- people ------------------------------------------------------------------------------------------------------

    def tell(self, command: OperatorCommand) -> Path:
        """Leave a command in the account's folder, as the command line does."""
        self._written += 1
        self._world.commands.mkdir(parents=True, exist_ok=True)
        path = self._world.commands / f"{self._written:08d}.json"
        path.write_bytes(msgspec.json.encode(command))
        return path

    def _stop_level(self, fault: Fault) -> None:
        self.tell(Halt(level=int(fault.number), reason="drill", person=_PERSON))

    def _resume(self, fault: Fault) -> None:
        self.tell(Resume(reason="over", person=_PERSON))

    def _place(self, fault: Fault) -> None:
        side = Side.BUY if fault.number > 0 else Side.SELL
        request = f"q{self._written}"
        self.tell(
            Place(
                request_id=request, symbol=fault.symbol, side=side, quantity=Decimal(str(abs(int(fault.number)))),
                order_type=OrderType.MARKET, limit_price=None, time_in_force=None, reason="", person=_PERSON,
            )
        )  # fmt: skip

    def _cancel(self, fault: Fault) -> None:
        self.ask_to_cancel("")

    def ask_to_cancel(self, name: str) -> None:
        """Cancel one order, or everything."""
        self.tell(Cancel(request_id=f"c{self._written}", client_order_id=name, reason="", person=_PERSON))

    def _targets(self, fault: Fault) -> None:
        rng = self._rng
        names = [symbol for symbol in SYMBOLS if rng.random() < 0.8] or [SYMBOLS[0]]
        quantities = {symbol: rng.choice((-200, -60, 0, 10, 80, 150, 300)) for symbol in names}
        weights = {symbol: round(rng.uniform(-0.5, 0.8), 3) for symbol in names}
        path = self._world.targets
        fresh = path.with_suffix(".tmp")
        fresh.write_bytes(msgspec.json.encode({"weights": weights} if rng.random() < 0.4 else {"quantities": quantities}))
        fresh.replace(path)

    def _terminate(self, fault: Fault) -> None:
        if self._world.live is not None:
            self._world.live.stop("sigterm")

    # ---- power and disk ----------------------------------------------------------------------------------------------

    def _cut(self, fault: Fault) -> None:
        self._world.loop.turns_left = self._rng.randint(0, 250)

    def _fsync(self, fault: Fault) -> None:
        self._world.disk.fail_next, self._world.disk_failed = fault.number, True

    def _disk_full(self, fault: Fault) -> None:
        disk = self._world.disk
        disk.full, self._world.disk_failed = True, True

        def free() -> None:
            disk.full = False

        self._later(fault.seconds, free)

    def wants_cut(self, point: str, outcome: str) -> bool:
        """Whether the plan cuts the power here."""
        for fault in self._crashes:
            if fault.route == point and fault.text == outcome:
                self._crashes.remove(fault)
                return True
        return False

    # ---- aims --------------------------------------------------------------------------------------------------------

    def _on_send(self, order: Order) -> Kind | None:
        """An aim at an order that the broker is never to get."""
        for aim in self._aims:
            if aim.move == OrderMove.ABSENT.value and aim.status in {OrderStatus.PENDING_CANCEL.value, *_UNHEARD}:
                self._aims.remove(aim)
                if aim.status == OrderStatus.PENDING_CANCEL.value:
                    self.ask_to_cancel(order.client_order_id)
                return Kind.TIMEOUT_BEFORE
        return None

    def _on_accept(self, order: VenueOrder) -> bool:
        """An aim at an order whose answer gets lost, so that it is in the state that the plan wants."""
        for aim in self._aims:
            lost = aim.status == OrderStatus.UNKNOWN.value and aim.move not in _AFTER_SEND
            crossed = aim.status == OrderStatus.PENDING_CANCEL.value and aim.move == OrderMove.LOSE.value
            if lost or crossed:
                self._aims.remove(aim)
                self._world.wire.door.silent.add(order.client_order_id)
                if crossed or aim.move == OrderMove.CANCEL_REQUEST.value:
                    self.ask_to_cancel(order.client_order_id)
                elif lost:
                    self._do(aim.move, order)
                return True
        return False

    def aim(self) -> None:
        """Strike every order that is in a wanted state now."""
        state = self._world.state
        if state is None:
            return
        for aim in tuple(self._aims):
            for order in tuple(state.known_orders.values()):
                if order.status.value == aim.status and self._hit(aim, order):
                    self._aims.remove(aim)
                    break

    def _hit(self, aim: Fault, order: Order) -> bool:
        theirs = self._world.venue.orders.get(order.client_order_id)
        if theirs is None or not self._world.hours.is_open or theirs.filled != order.filled_quantity:
            return False
        if theirs.is_open != order.is_working:
            return False
        if aim.move == OrderMove.CANCEL_REQUEST.value:
            self.ask_to_cancel(order.client_order_id)
            return True
        return self._do(aim.move, theirs)

    def _do(self, move: str, order: VenueOrder) -> bool:
        venue = self._world.venue
        part = (order.remaining / 2).to_integral_value()
        ends = {"cancel": "canceled", "expire": "expired", "reject": "rejected", "end_day": "done_for_day"}
        if move == "fill_part" and ZERO < part < order.remaining:
            venue.fill(order, part)
        elif move == "fill_rest" and order.remaining > ZERO:
            venue.fill(order, order.remaining)
        elif move in ends and order.is_open and order.status != ends[move]:
            venue.end(order, ends[move], reason="refused after all" if move == "reject" else "")
        elif move == "replace" and order.is_open and order.remaining > ZERO:
            venue.replace(order)
        elif move in {"bust", "correct"} and order.standing and order.updated_at < venue.now():
            (venue.bust if move == "bust" else venue.correct)(order)
        else:
            return False
        return True
