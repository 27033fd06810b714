"""Who carries out the plan: moves the market, strikes with faults, and plays the people."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import OrderType, Side
from live_executor.commands import Cancel, Halt, OperatorCommand, Place, Resume
from live_executor.simulation.accidents import Accidents
from live_executor.simulation.plan import SYMBOLS, Fault, Kind
from live_executor.simulation.scenes import Scenes

if TYPE_CHECKING:
    from live_executor.simulation.world import World

TICK_SECONDS = 0.15
_MATCH_EVERY = 2
_PERSON = "ann"


class Director:
    """The plan's hands."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._splits: list[Fault] = []
        self.scenes = Scenes(world, self)
        self._written = 0
        self._day = (-1, False)
        self._acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.DROP: self._drop, Kind.MUTE: self._mute,
            Kind.REFUSE: self._refuse, Kind.FEED_DROP: self._feed_drop, Kind.THIN: self._thin, Kind.HALT: self._halt,
            Kind.JUMP: self._jump, Kind.SPLIT: self._split, Kind.DIVIDEND: self._dividend, Kind.FEE: self._fee,
            Kind.MANUAL: self._by_hand, Kind.AIM: self.scenes.add, Kind.TARGETS: self._targets, Kind.STOP_LEVEL: self._stop_level,
            Kind.RESUME: lambda _fault: self.resume(), Kind.PLACE: self._place, Kind.CANCEL: self._cancel, Kind.TERMINATE: self._terminate,
            Kind.CRASH: self.scenes.add, Kind.CUT: self._cut, Kind.FSYNC: self._fsync, Kind.DISK_FULL: self._disk_full,
        }  # fmt: skip
        self.accidents = Accidents(world, random.Random(f"{world.plan.seed} accidents"))  # noqa: S311 - a simulation's chance, no secret
        self._acts |= self.accidents.acts
        if world.research is not None:
            self._acts |= world.research.acts

    async def run(self) -> None:
        """For ever."""
        ticks = 0
        while True:
            self._turn_of_day()
            for fault in self._world.weather.due(tuple(self._acts)):
                self._acts[fault.kind](fault)
            self.scenes.advance()
            self.accidents.look()
            self._world.look_for_holes()
            if self._world.research is not None:
                self._world.research.lake.take_in()
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
        if world.research is not None:
            world.research.heal()
        for order in world.venue.orders.values():
            order.stuck = order.deaf = False
            if order.status == "done_for_day":
                world.venue.end(order, "expired")
        self.scenes.end()
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
        """At the next night, if it is not withdrawn; announced or not. No company splits twice in a week."""
        if any(symbol == fault.symbol for symbol, _ in self._world.market.split):
            return
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
        self.halt(int(fault.number))

    def _place(self, fault: Fault) -> None:
        self.place(f"q{self._written}", fault.symbol, int(fault.number))

    def halt(self, level: int) -> None:
        """A person halts."""
        self.tell(Halt(level=level, reason="drill", person=_PERSON))

    def resume(self) -> None:
        """A person resumes."""
        self.tell(Resume(reason="over", person=_PERSON))

    def place(self, request: str, symbol: str, shares: int) -> None:
        """A person asks for an order."""
        side = Side.BUY if shares > 0 else Side.SELL
        self.tell(
            Place(
                request_id=request, symbol=symbol, side=side, quantity=Decimal(abs(shares)),
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
