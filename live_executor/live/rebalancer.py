"""Asks the machine for decisions on a file of targets: when it changes, when drift is due, when an order was not filled; and to flatten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from hedgefund_core import errors
from hedgefund_core.account_state import ids_by_name, residue
from hedgefund_core.freezes import FROZEN_BY_DIFFERENCE, FROZEN_FOR_A_PERSON, causes_of
from hedgefund_core.live_account import RETRY_GROWTH, lacks_buying_power
from hedgefund_core.risk import entries_gate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus, Purpose, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.desk import DENIED, REFUSED
from live_executor.live.floor import Floor
from live_executor.live.gates import Gates
from live_executor.live.instruments import Instruments
from live_executor.live.prices import Prices, nothing_came
from live_executor.live.sender import HOUSE
from live_executor.live.stopwatch import Stopwatch
from live_executor.logging import logger
from live_executor.targets import Targets, TargetsFile

_log = logger("rebalancer")
_TICK_SECONDS, _WATCHING_SECONDS, _IDLE_SECONDS = 0.02, 0.1, 2.0
_WAITING_SEES = timedelta(seconds=2)
"""How often prices are journaled while an order waits for another one to end."""
_PATIENCE_READS = 4
"""An unreadable file is read again so often before it is called bad: somebody may be writing it."""
_QUARANTINE = frozenset({*FROZEN_FOR_A_PERSON, FROZEN_BY_DIFFERENCE})
_LONGEST_PAUSE, _MOST_IN_A_ROW = 900.0, 20
"""Longest pause in seconds, and after how many decisions it no longer grows: if the broker keeps ending our orders unfilled, we decide
anew ever more rarely. Source: default."""
_WORKED = frozenset({Purpose.TARGETS, Purpose.FLATTEN})


class Rebalancer:
    """Asks the machine for decisions."""

    def __init__(
        self, floor: Floor, gates: Gates, prices: Prices, instruments: Instruments, file: TargetsFile | None, every: float | None
    ) -> None:
        self._floor, self._gates, self._prices, self._instruments = floor, gates, prices, instruments
        self._file, self._every = file, every
        self._targets = Targets()
        self._bad_reads = 0
        self._due = False
        self._decided = Stopwatch(floor.timeline.local_now, started=False)
        self._held: Stopwatch | None = None
        self._opened: Stopwatch | None = None
        self._was_denied = self._fell_short = False
        self._in_a_row = 0
        """Decisions after which something fell short, and nothing was filled since."""
        self._taken_out = set[str]()
        self._woken = asyncio.Event()
        self._decided_session = ""
        self._opening_for = ""
        self._denied = 0
        self._repricing: set[str] = set()
        self.decisions = 0
        self.trouble = ""

    @property
    def targets(self) -> Targets:
        """What is in force."""
        return self._targets

    @property
    def at_rest(self) -> bool:
        """Whether the targets in force were decided on, or the file has none; nothing works any more, and nothing only waits for a gate."""
        state = self._floor.state
        gated = any(denied.rule == entries_gate.RULE.name for denied in state.refused)
        decided = self.decisions > 0 and not (self._due or gated)
        wants_nothing = self._file is not None and not self._targets.symbols
        return (decided or wants_nothing) and not (state.working or self._repricing)

    @property
    def short(self) -> str:
        """Who kept the last decision from its targets; empty where nobody did."""
        return DENIED if self._floor.state.refused else REFUSED if self._fell_short else ""

    def ask_now(self) -> None:
        """A decision is due."""
        self._due = True
        self._woken.set()

    # ---- the file ------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the file at the start; raises DataInvalid."""
        if self._file is not None:
            self._file.look_again()  # it may have been read by a start that failed, without being adopted
            found = self._file.changed()
            await self._adopt(Targets() if found is None else found)

    async def watch_file(self) -> None:
        """Follow the file for ever. A bad one leaves the last good targets in force, and people are told."""
        while True:
            await self._floor.sleep(self._floor.settings.targets_every_seconds)
            if self._file is None:
                continue
            try:
                found = self._file.changed(patient=True)
                if found is not None:
                    await self._adopt(found)
                    self._bad_reads, self.trouble = 0, ""
            except errors.DataInvalid as error:
                self._bad(error.message)
            except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
                self._file.look_again()
                _log.warning("targets cannot be taken up yet", error=error.message)

    def _bad(self, message: str) -> None:
        self._bad_reads += 1
        if self._file is not None and self._bad_reads < _PATIENCE_READS:
            self._file.look_again()
        elif message != self.trouble:
            self.trouble, self._bad_reads = message, 0
            self._floor.trouble(f"{message}; the last good targets stay in force")

    async def _adopt(self, found: Targets) -> None:
        unknown = await self._instruments.ensure(found.symbols)
        if unknown:
            where = "" if self._file is None else str(self._file.path)
            raise errors.DataInvalid(f"{where}: the broker does not know {', '.join(unknown)}", mend=f"correct {unknown[0]} in {where}")
        _log.info("targets", weights=len(found.weights), quantities=len(found.quantities))
        self._targets = found
        self.ask_now()

    # ---- the loop ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide when something is due, for ever."""
        while True:
            await self._floor.nap(self._woken, self._nap_seconds())
            self._woken.clear()
            try:
                await self._turn()
            except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
                _log.warning("no decision now", error=error.message)
                await self._floor.sleep(self._floor.pause(2))

    def wake(self) -> None:
        """Check again whether a decision is due: something was journaled."""
        self._woken.set()

    def _nap_seconds(self) -> float:
        """Seconds until drift is due; few while something has to be watched."""
        busy = self._floor.timeline.is_open and (self._due or bool(self._floor.state.working) or bool(self._gates.closed))
        if busy or self._floor.state.ladder.level is Level.FLATTENING:
            return _WATCHING_SECONDS
        drifts = self._every is not None and self._floor.timeline.is_open and bool(self._targets.symbols)
        left = self._every - self._decided.seconds if drifts and self._every is not None else _IDLE_SECONDS
        return min(_IDLE_SECONDS, max(_TICK_SECONDS, left))

    async def _turn(self) -> None:
        level = self._floor.state.ladder.level
        if level in {Level.HALTED, Level.CANCELLING} or not self._floor.state.session:
            return
        self._reprice()
        if self._floor.state.pending or self._floor.state.reissues:
            await self._wake_waiting()
        if level is Level.FLATTENING:
            await self._flatten()
        elif self._floor.timeline.is_open:
            await self._in_session()
        elif self._targets.symbols:
            await self._for_opening()

    async def _in_session(self) -> None:
        state = self._floor.state
        if state.session != self._floor.timeline.session:
            return  # the account has not begun this session yet
        drift = self._every is not None and self._decided.seconds >= self._every
        new_session = self._decided_session != state.session
        retry = self._was_denied and self._decided.seconds >= self._floor.settings.entries_wait_seconds
        if not (self._due or drift or new_session or retry or self._is_tried_again()) or not self._targets.symbols:
            self._due = self._due and bool(self._targets.symbols)
            return
        if not self._gates.closed:
            self._held = None
        elif not self._waited_for_gates():
            return  # entries would be denied: wait for the gates for a while, then decide all the same so that reductions can leave
        await self._decide(state.session, TimeInForce.DAY, quiet=not (self._due or new_session))
        self._decided_session = state.session

    async def _wake_waiting(self) -> None:
        """Journal fresh prices for instruments whose next order waits for another one: between two decisions nobody else asks for any."""
        state, now = self._floor.state, self._floor.now()
        waits = set(state.pending) | {state.orders[name].instrument_id for name in state.reissues if name in state.orders}
        recent = state.quotes is not None and now - state.quotes.at < _WAITING_SEES
        if not recent and self._floor.timeline.is_open and state.session == self._floor.timeline.session:
            await self._prices.see([instrument.symbol for instrument in state.instruments if instrument.instrument_id in waits])

    def _is_tried_again(self) -> bool:
        """Whether to decide again: the broker ended an order before it was filled, or a refused instrument may be tried once more."""
        seconds, now = self._decided.seconds, self._floor.now()
        last = now - timedelta(seconds=seconds)
        free = any(last < until <= now for until in self._floor.state.barred_until.values())
        pause = min(self._floor.settings.orders_every_seconds * RETRY_GROWTH**self._in_a_row, _LONGEST_PAUSE)
        return free or (self._fell_short and seconds >= pause)

    def _waited_for_gates(self) -> bool:
        if self._held is None:
            self._held = Stopwatch(self._floor.timeline.local_now)
        return self._held.seconds >= self._floor.settings.entries_wait_seconds

    async def _for_opening(self) -> None:
        """While the market is closed: decide once for its next opening auction, within the hours in which such orders are accepted."""
        coming = self._floor.timeline.next_session
        again = self._due and self._opening_for == coming
        if self._gates.closed or not self._floor.timeline.takes_opening_orders or (self._opening_for == coming and not again):
            return
        await self._decide(coming, TimeInForce.OPG)
        self._opening_for = coming

    async def _flatten(self) -> None:
        """Decide to close everything, again and again until nothing is held: what was refused, expired or halted is tried again."""
        state, line = self._floor.state, self._floor.timeline
        stuck = [o for o in state.working if o.purpose is Purpose.FLATTEN or o.status is OrderStatus.PENDING_CANCEL]
        held = {key for key, position in state.ledger.positions.items() if position.quantity != residue(state, key)}
        if held <= {order.instrument_id for order in stuck} or self._decided.seconds < self._floor.settings.urgent_every_seconds:
            return
        if line.is_open and state.session == line.session:
            await self._decide(state.session, TimeInForce.DAY, flatten=True, quiet=True)
        elif line.takes_opening_orders:
            await self._decide(line.next_session, TimeInForce.OPG, flatten=True, quiet=True)

    async def _decide(self, for_session: str, time_in_force: TimeInForce, *, flatten: bool = False, quiet: bool = False) -> None:
        """``quiet``: a decision that changes nothing is not journaled, as it is asked for again and again."""
        state = self._floor.state
        wanted = set() if flatten else set(ids_by_name(state, self._targets.symbols).values())
        self._due, self._held = False, None
        seen = await self._prices.look(
            sorted(i.symbol for i in state.instruments if i.instrument_id in wanted or state.ledger.quantity(i.instrument_id))
        )
        weights, quantities = ({}, {}) if flatten else self._wanted()
        due = e.DecisionDue(
            ts=self._floor.now(),
            session=self._floor.state.session,
            for_session=for_session,
            time_in_force=time_in_force.value,
            rebalance=True,
            target_weights=None if flatten else weights,
            target_quantities=None if flatten else quantities,
            origin="" if flatten else self._targets.origin,
        )
        denied = self._denied
        self._floor.take([seen, due], idle=nothing_came if quiet else None)
        self.decisions += 1
        self._decided.start()
        self._in_a_row = min(self._in_a_row + 1, _MOST_IN_A_ROW) if self._fell_short else 0
        self._was_denied, self._fell_short = self._denied > denied, False

    def _wanted(self) -> tuple[dict[str, float], dict[str, Decimal]]:
        """Targets by instrument. What is under a doubt only a person can end is left alone: nobody's trade is traded back blindly."""
        state = self._floor.state
        doubtful = {key for key in state.frozen if _QUARANTINE & set(causes_of(state, key))}
        ids = {name: key for name, key in ids_by_name(state, self._targets.symbols).items() if key not in doubtful}
        weights = {ids[symbol]: float(weight) for symbol, weight in self._targets.weights.items() if symbol in ids}
        return weights, {ids[symbol]: quantity for symbol, quantity in self._targets.quantities.items() if symbol in ids}

    # ---- orders that are not filled ---------------------------------------------------------------------------------------

    def _reprice(self) -> None:
        """An order of ours that rests too long in the session is cancelled; what is then missing is decided anew at the new price.

        One for the opening auction as well: it is over, whatever the broker still shows.
        """
        working = {order.client_order_id: order for order in self._floor.state.working}
        over = self._repricing - working.keys()
        if over:
            self._repricing -= over
            self._due = True
        if not self._floor.timeline.is_open:
            self._opened = None
            return
        if self._opened is None:
            self._opened = Stopwatch(self._floor.timeline.local_now)
        patience, now = self._floor.settings.reprice_seconds, self._floor.now()
        if self._opened.seconds <= patience:
            return
        for name, order in working.items():
            if (now - order.submitted_at).total_seconds() > patience and self._rests(order):
                self._repricing.add(name)
                reason = "not filled in time: to be priced anew"
                self._floor.take(
                    [e.CancelRequested(ts=self._floor.now(), request_id="", client_order_id=name, person=HOUSE, reason=reason)]
                )

    def _rests(self, order: Order) -> bool:
        resting = order.status in {OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED}
        timed = order.time_in_force in {TimeInForce.DAY, TimeInForce.OPG}
        return resting and timed and order.purpose in _WORKED and order.client_order_id not in self._repricing

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: count denials, and note orders that ended at the broker although nobody here asked for it."""
        for frame in frames:
            if isinstance(frame, e.OrdersDenied):
                self._denied += len(frame.orders)
            elif isinstance(frame, e.CancelRequested):
                everything = (order.client_order_id for order in self._floor.state.working)
                self._taken_out |= {frame.client_order_id} if frame.client_order_id else set(everything)
            elif isinstance(frame, e.BrokerReported):
                self._fell_short |= lacks_buying_power(self._floor.state)
            elif isinstance(frame, e.SessionBegan):
                self._taken_out &= {order.client_order_id for order in self._floor.state.working}
            elif isinstance(frame, e.OrderFilled):
                self._in_a_row = 0
            elif isinstance(frame, e.OrderRejected | e.OrderExpired):
                self._fell_short = True
            elif isinstance(frame, e.OrderCanceled):
                self._fell_short |= frame.client_order_id not in self._taken_out
                self._taken_out.discard(frame.client_order_id)
