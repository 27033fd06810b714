"""What happens past the journal, seen from the executor: acts of the emergency log are adopted, a standstill is noticed, and where
the journal itself fails the log is the last thing that is written.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.order import Order
from hedgefund_core.trading.state import Level
from live_executor.emergency_stop import EmergencyStop
from live_executor.journals.emergency import Act, EmergencyAct, EmergencyLog
from live_executor.live.floor import Floor
from live_executor.live.gates import NOT_RECONCILED, Gates
from live_executor.live.reconciler import Reconciler
from live_executor.live.requests import Requests
from live_executor.logging import logger

_log = logger("past_journal")
_STANDSTILL_SECONDS = 2.0
_BLIND_SECONDS = 5.0
"""Reductions wait so long for the broker's books after a start or a standstill: what they close may be closed already."""
_POLICIES = {"cancel": Level.CANCELLING, "flatten": Level.FLATTENING}


class Adoption:
    """The emergency log of the account, read whenever it has grown; without a folder there is none."""

    def __init__(self, floor: Floor, folder: Path | None) -> None:
        self._floor, self._log = floor, None if folder is None else EmergencyLog(folder)
        self._read_at, self._busy = -1, False

    def prepare(self) -> None:
        """Take the log's room on the disk while there is some."""
        if self._log is None:
            return
        try:
            self._log.prepare()
        except OSError as error:
            _log.error("no room for the emergency log", reason=str(error), mend="free disk space")

    def sync(self) -> None:
        """Journal what was done past it. Called before anything the broker shows is booked: a closing order of ours is no stranger's."""
        if self._log is None or self._busy or (stamp := self._log.stamp) == self._read_at:
            return
        self._busy = True
        try:
            acts = self._log.read(after=self._floor.known.emergency)
            # In one commit, orders before halts: a flattening that did not know them would close every position a second time.
            acts.sort(key=lambda act: (act.order is None, act.number))
            self._floor.take([event for act in acts for event in self._inputs(act)])
        finally:
            self._busy = False
        self._read_at = stamp

    def _inputs(self, act: EmergencyAct) -> list[e.Input]:
        order = None if act.order is None else self._ours(act.order)
        known = {instrument.instrument_id for instrument in self._floor.state.instruments}
        added: list[e.Input] = []
        if order is not None and order.instrument_id not in known:
            fresh = Instrument(instrument_id=order.instrument_id, symbol=order.symbol)
            added = [e.InstrumentsAdded(ts=self._floor.now(), instruments=(fresh,))]
        adopted = e.EmergencyAdopted(
            ts=self._floor.now(),
            number=act.number,
            act=act.act.value,
            done_at=act.ts,
            person=act.person,
            reason=act.reason,
            session=self._floor.state.session,
            level=act.level if act.act is Act.HALT else 0,
            order=order,
            note=act.note or ("" if order is None else f"{order.side.value} {order.quantity} {order.symbol}"),
        )
        return [*added, adopted]

    def _ours(self, order: Order) -> Order:
        """Under the account's own name of the instrument, for the session in which it can trade."""
        ids = {instrument.symbol: instrument.instrument_id for instrument in self._floor.state.instruments}
        line, session = self._floor.timeline, self._floor.state.session
        running = line.is_open and line.session == session
        return replace(order, instrument_id=ids.get(order.symbol, order.instrument_id), session=session if running else line.next_session)


class Fence:
    """A process that stood still (stopped, swapped out, its computer asleep) asks before it acts: people may have taken over."""

    def __init__(self, floor: Floor, gates: Gates, requests: Requests, reconciler: Reconciler) -> None:
        self._floor, self._gates, self._requests, self._reconciler = floor, gates, requests, reconciler
        self._awake_at = self._since = floor.timeline.local_now()
        self._woke_at: datetime | None = floor.now()
        self._limit = max(_STANDSTILL_SECONDS, 5 * floor.settings.mailbox_every_seconds)

    def passed(self) -> bool:
        """Whether it has been awake. After a standstill people's requests are read at once, and entries wait for the broker's books."""
        now = self._floor.timeline.local_now()
        stood, self._awake_at = abs((now - self._awake_at).total_seconds()), now
        if stood <= self._limit:
            return True
        _log.warning("stood still", seconds=round(stood, 1))
        self._since, self._woke_at = now, self._floor.now()
        self._floor.adopt()
        self._requests.read()
        self._gates.set(NOT_RECONCILED, closed=True)
        self._reconciler.after_standstill()
        self._floor.trouble(f"the executor stood still for {stood:.1f} s: entries wait until the broker's books are read again")
        return False


    def knows_the_books(self) -> bool:
        """Whether the broker's books were read since the start or the last standstill, or have not been for too long to wait."""
        if self._woke_at is None:
            return True
        read_at = self._reconciler.reconciled_at
        waited = (self._floor.timeline.local_now() - self._since).total_seconds()
        if (read_at is None or read_at < self._woke_at) and 0.0 <= waited < _BLIND_SECONDS:
            return False
        self._woke_at = None
        return True


async def stop_past_journal(floor: Floor, folder: Path | None, error: errors.JournalError) -> None:
    """The journal cannot be written: what works at the broker is cancelled (or closed) as the policy says, by the emergency log."""
    level = _POLICIES.get(floor.settings.on_journal_failure)
    if level is None or folder is None or not floor.state.account:
        return
    stop = EmergencyStop(
        floor.broker,
        EmergencyLog(folder),
        account=floor.state.account,
        person="executor",
        reason=f"journal: {error.message}"[:200],
        clock=floor.timeline,
        sleep=floor.sleep,
    )
    until = floor.now() + timedelta(seconds=floor.settings.stop_patience_seconds)
    try:
        stopped = await stop.run(level, until=until)
    except errors.HedgefundError as trouble:
        _log.error("not stopped past the journal", reason=trouble.message)
        return
    _log.error("stopped past the journal", verified=stopped.verified, left=stopped.orders_left, trouble=stopped.trouble)
