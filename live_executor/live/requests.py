"""Reads the mailbox: requests of people are journaled as inputs, and their files removed only after that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hedgefund_core import errors
from hedgefund_core.account_state import column_of, ids_by_name, symbol_of
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import AccountSighting, PositionSighting
from hedgefund_core.trading.order import TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.commands import Adopt, Cancel, Halt, LookAtAlias, OperatorCommand, Place, Resume, RollBack, latch_event
from live_executor.live.dead_letters import POISON
from live_executor.live.floor import Floor
from live_executor.live.instruments import Instruments
from live_executor.live.intake import Intake
from live_executor.live.prices import Prices
from live_executor.live.swaps import Swaps
from live_executor.logging import logger

_log = logger("requests")
_TRIES = 5


class Requests:
    """The mailbox's reader."""

    def __init__(
        self,
        floor: Floor,
        prices: Prices,
        instruments: Instruments,
        intake: Intake,
        on_latch: Callable[[], None],
        swaps: Swaps | None = None,
    ) -> None:
        self._floor, self._prices, self._instruments, self._on_latch = floor, prices, instruments, on_latch
        self._swaps, self._intake = swaps, intake
        self._busy: set[Path] = set()

    async def run(self) -> None:
        """Read for ever."""
        while True:
            self._floor.fence()
            self._floor.adopt()
            self.read()
            await self._floor.sleep(self._floor.settings.mailbox_every_seconds)

    def read(self) -> None:
        """Take every request that waits. Those that need an answer of broker or feed are worked on in tasks of their own."""
        latched = self._floor.mailbox.halt_file_event(self._floor.state.session, self._floor.now())
        if latched is not None and self._floor.state.ladder.level < Level.HALTED:  # else: halted at every look
            self._latch(latched)
        for path, command in self._floor.mailbox.commands():
            if path in self._busy:
                continue
            if isinstance(command, Halt | Resume):
                self._latch(latch_event(command, self._floor.state.session, self._floor.now()))
                path.unlink(missing_ok=True)
            elif isinstance(command, Cancel):
                self._floor.take([self._cancel(command)])
                path.unlink(missing_ok=True)
            else:
                self._busy.add(path)
                self._floor.crew.start(f"request {path.stem}", self._work(path, command))

    def halt(self, level: int, person: str, reason: str) -> None:
        """Halt at a level; for requests that do not come by the mailbox (signals)."""
        state = self._floor.state
        self._latch(e.HaltRequested(ts=self._floor.now(), level=level, reason=reason, person=person, session=state.session))

    def _latch(self, event: e.HaltRequested | e.ResumeRequested) -> None:
        _log.warning("operator", request=e.kind_of(event), reason=event.reason, person=event.person)
        self._floor.take([event])
        self._floor.desk.sign()
        self._on_latch()

    def _cancel(self, command: Cancel) -> e.CancelRequested:
        return e.CancelRequested(
            ts=self._floor.now(),
            request_id=command.request_id,
            client_order_id=command.client_order_id,
            person=command.person,
            reason=command.reason,
        )

    async def _work(self, path: Path, command: OperatorCommand) -> None:
        """Carry out a request. If the broker stays away through several tries, or it cannot be carried out at all (it would end every run
        that finds it), it is given up, and whoever asked is told.
        """
        why = ""
        for tries in range(_TRIES):
            try:
                await self._carry_out(command)
                why = ""
                break
            except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
                why = f"{error.message} ({tries + 1} tries)"
                _log.warning("request waits for the broker", request=path.stem, error=why)
                await self._floor.sleep(self._floor.pause(tries))
            except POISON as error:
                why = f"{type(error).__name__}: {error}"
                break
        if why:
            request = command.request_id if isinstance(command, Place | Adopt) else ""
            self._floor.trouble(f"request {request or path.stem} is given up, nothing of it was done: {why}", request_id=request)
        self._done(path)

    async def _carry_out(self, command: OperatorCommand) -> None:
        if isinstance(command, Place):
            await self._place(command)
        elif isinstance(command, Adopt):
            await self._adopt(command)
        elif isinstance(command, LookAtAlias | RollBack):
            await self._model(command)

    async def _model(self, command: LookAtAlias | RollBack) -> None:
        if self._swaps is None:
            self._floor.trouble("a request about the model: this account trades targets and follows none")
        elif isinstance(command, RollBack):
            await self._swaps.back(command.person, command.reason)
        else:
            self._swaps.nudge()

    def _done(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._busy.discard(path)

    async def _place(self, command: Place) -> None:
        """A person's order: make the instrument known, journal its price, then let the machine judge it by the same rules as any other."""
        await self._instruments.ensure([command.symbol])
        state = self._floor.state
        key = ids_by_name(state, [command.symbol]).get(command.symbol, command.symbol)
        if column_of(state, key) >= 0:
            await self._prices.see([symbol_of(state, key)])
        line = self._floor.timeline
        in_session = line.is_open and self._floor.state.session == line.session
        usual = TimeInForce.DAY if in_session or not line.takes_opening_orders else TimeInForce.OPG
        request = e.OrderRequested(
            ts=self._floor.now(),
            request_id=command.request_id,
            instrument_id=key,
            side=command.side,
            quantity=command.quantity,
            order_type=command.order_type,
            limit_price=command.limit_price,
            time_in_force=command.time_in_force or usual,
            usual_time=command.time_in_force is None,
            session=self._floor.state.session if in_session else line.next_session,
            person=command.person,
            reason=command.reason,
        )
        self._floor.take([request])

    async def _settled_books(self) -> tuple[AccountSighting, Mapping[str, PositionSighting]]:
        """The broker's cash and positions, at a moment when no news was booked between reading them and now.

        Otherwise a fill would be adopted with the position and then booked once more when its own news arrives.
        """
        for _ in range(_TRIES):
            before = self._floor.state.broker_seq
            account, positions = await self._floor.broker.account(), await self._floor.broker.positions()
            held = await self._instruments.held(positions)
            await self._intake.activities()
            if self._floor.state.broker_seq == before:
                return account, held
        raise errors.BrokerUnavailable("the account's books do not stand still", mend="ask again when less is traded")

    async def _adopt(self, command: Adopt) -> None:
        """The broker's positions and cash become ours where they differ, by a person with a reason; nothing is traded."""
        account, theirs = await self._settled_books()  # no await from here to `take`: nothing can be booked in between
        state, now, inputs = self._floor.state, self._floor.now(), list[e.Input]()
        for instrument in state.instruments:
            position = theirs.get(instrument.instrument_id)
            quantity = ZERO if position is None else position.quantity
            if quantity != state.ledger.quantity(instrument.instrument_id):
                adopted = e.PositionAdopted(
                    ts=now,
                    instrument_id=instrument.instrument_id,
                    quantity=quantity,
                    average_price=ZERO if position is None else position.average_price,
                    person=command.person,
                    reason=command.reason,
                )
                inputs.append(adopted)
        if account.cash != state.ledger.cash:
            amount = account.cash - state.ledger.cash
            inputs.append(e.CashAdopted(ts=now, amount=amount, person=command.person, reason=command.reason, session=state.session))
        self._floor.take(inputs)
        self._on_latch()
