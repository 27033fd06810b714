"""Rare things: more is filled than was ordered, orders stand still under strange words, a process freezes, people act past the executor.

Aimed ones wait for an order that they can strike; what really happened is counted, so that nobody believes in a fault that never was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hedgefund_core import errors
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import SplitSighting
from hedgefund_core.trading.state import Level
from live_executor.commands import Halt, Mailbox
from live_executor.emergency_stop import EmergencyStop
from live_executor.simulation.faults import FaultyBroker
from live_executor.simulation.plan import Fault, Kind
from live_executor.simulation.venue import VenueOrder

if TYPE_CHECKING:
    from live_executor.simulation.world import World

_STANDS_STILL = frozenset({"held", "suspended", "stopped"})
"""Words for an order that does not trade meanwhile."""
_TAKEN_WITHIN, _STOP_PATIENCE = 1.0, timedelta(seconds=6)
_LOOK_SECONDS = 0.1


class Accidents:
    """Their hands."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._aims: list[Fault] = []
        self._announced: list[Fault] = []
        self._renames: list[Fault] = []
        self._killers = 0
        self.acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.OVERFILL: self._aims.append, Kind.WORD: self._aims.append, Kind.PAUSE: self._aims.append,
            Kind.RENAME: self._renames.append, Kind.FREEZE: self._freeze, Kind.KILL: self._kill, Kind.CLOCK: self._set_clock,
        }  # fmt: skip

    def heal(self) -> None:
        """The storm is over."""
        self._aims.clear()
        self._world.loop.thaw()
        for order in self._world.venue.orders.values():
            if order.word:
                self._world.venue.say_word(order, "")

    def look(self) -> None:
        """Strike what can be struck now."""
        for aim in tuple(self._aims):
            mine = [order for order in self._world.venue.orders.values() if not order.external and order.client_order_id in self._known()]
            if any(self._strike(aim, order) for order in mine):
                self._aims.remove(aim)

    def _known(self) -> set[str]:
        state = self._world.state
        return set() if state is None else {name for name, order in state.orders.items() if order.broker_order_id}

    def _strike(self, aim: Fault, order: VenueOrder) -> bool:
        venue, market = self._world.venue, self._world.market
        if aim.kind is Kind.OVERFILL:
            late = aim.text == "late"
            if (
                not market.hours.is_open
                or order.word
                or (order.status != "filled" if late else order.status not in {"new", "partially_filled"})
            ):
                return False
            venue.fill(order, order.remaining + Decimal(str(int(aim.number))))
            self._count(f"overfilled {aim.text}".strip())
            return True
        if not order.is_open or order.word or order.status == "done_for_day":
            return False
        if aim.kind is Kind.PAUSE:
            market.halt(order.symbol, on=True)
            self._later(aim.seconds, lambda: market.halt(order.symbol, on=False))
            self._count("paused in mid-order" if order.filled else "paused with an order in the market")
            return True
        venue.say_word(order, aim.text)
        order.stuck = aim.text in _STANDS_STILL
        self._later(aim.seconds, lambda: self._unsay(order, aim.text))
        self._count(f"said to be {aim.text}")
        return True

    def _unsay(self, order: VenueOrder, word: str) -> None:
        if order.word != word:
            return
        order.stuck = False
        if word == "pending_replace" and order.is_open and order.remaining > ZERO:
            self._world.venue.replace(order)
        else:
            self._world.venue.say_word(order, "")

    # ---- over night --------------------------------------------------------------------------------------------------

    def announce(self, fault: Fault) -> None:
        """A split comes into the vendor's calendar, in time or not."""
        self._announced.append(fault)
        if fault.text != "late":
            self._show(fault)
        if fault.text == "twice":  # corrected at once: first another ratio was said, then this one again
            first = replace(fault, number=fault.number + 1)
            self._show(first)
            self._later(1.0, lambda: self._show(fault))

    def _show(self, fault: Fault) -> None:
        hours, market = self._world.hours, self._world.market
        session = hours.days[hours.day_number + 6].session
        market.announced[fault.symbol] = SplitSighting(symbol=fault.symbol, ratio=Decimal(str(fault.number)), session=session)

    def at_night(self) -> None:
        """The day has changed: what was announced happens or does not, names change hands."""
        world = self._world
        for fault in self._announced:
            resting = any(order.symbol == fault.symbol for order in world.venue.orders.values() if order.is_open)
            self._count(f"split {fault.text}" + (", orders resting" if resting else ""))
            if fault.text == "withdrawn":
                world.market.announced.pop(fault.symbol, None)
            elif fault.text == "late":
                session = world.hours.days[world.hours.day_number + 5].session
                late = SplitSighting(symbol=fault.symbol, ratio=Decimal(str(fault.number)), session=session)
                self._later(3.0, partial(world.market.announced.update, {fault.symbol: late}))
        self._announced.clear()
        for fault in self._renames:
            for order in world.venue.open_orders(fault.symbol):
                world.venue.end(order, "canceled")
            world.venue.rename(fault.symbol, reused=fault.text == "reused")
            self._count(fault.text + (", held" if world.venue.positions.get(fault.symbol) else ""))
        self._renames.clear()

    # ---- the process -------------------------------------------------------------------------------------------------

    def _freeze(self, fault: Fault) -> None:
        loop, token = self._world.loop, self._world.process_token
        if token is None or loop.frozen is not None:
            return
        loop.frozen = token
        self._count("frozen")
        self._later(fault.seconds, lambda: loop.thaw() if loop.frozen is token else None)

    def _set_clock(self, fault: Fault) -> None:
        """Somebody sets the computer's clock: a process counts seconds from its start, so that the next one has the new time."""
        self._world.clock_off += timedelta(seconds=fault.number)

    # ---- past the executor -------------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        self._world.spawn(self._stop_from_outside(Level(int(fault.number)), told=fault.text != "untold"))

    async def _stop_from_outside(self, level: Level, *, told: bool) -> None:
        """What `executor halt` and the watchdog do: leave the request, wait for the executor, then go to the broker themselves."""
        world = self._world
        if told:
            Mailbox(world.folder, world.account).mirror(on=True)
            path = world.director.tell(Halt(level=int(level), reason="kill", person="bob"))
            for _ in range(int(_TAKEN_WITHIN / _LOOK_SECONDS)):
                await asyncio.sleep(_LOOK_SECONDS)
                if not path.exists():
                    self._count("halt taken by the executor")
                    return
        self._killers += 1
        clock = world.hours
        broker = FaultyBroker(
            world.wire, alive=lambda: None, clock=clock, on_submit=lambda _order: None, on_done=lambda _order, _taken: None,
            on_heard=lambda _seen: None, aimed=False,
        )  # fmt: skip
        stop = EmergencyStop(
            broker,
            world.emergency_log,
            account=world.account,
            person="bob",
            reason=f"kill {self._killers}",
            clock=clock,
            sleep=asyncio.sleep,
        )
        frozen = world.loop.frozen
        try:
            until = clock.now() + min(_STOP_PATIENCE, timedelta(seconds=world.plan.heals_at - world.loop.time()))
            stopped = await stop.run(level, until=until)
        except errors.HedgefundError as error:
            world.oracle.broken("the short path to the broker does not fail", error.message)
            return
        self._count(f"stopped past the executor at level {int(level)}" + (": verified" if stopped.verified else ""))
        if stopped.verified and frozen is not None and world.loop.frozen is frozen:
            world.oracle.stopped(level, world.venue, world.wire.late)

    def _count(self, what: str) -> None:
        self._world.coverage.happened[what] += 1

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(seconds, act)
