"""What the executor does about events outside its journal.

Acts that others did at the broker and wrote into the emergency log are adopted into the journal. A process that was frozen for a while
notices it before it sends anything. And where the journal itself cannot be written any more, the account is stopped by the emergency log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core import errors
from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.state import Level
from live_executor.emergency_stop import EmergencyStop
from live_executor.journals.emergency import Act, EmergencyAct, EmergencyLog
from live_executor.live.floor import Floor
from live_executor.live.gates import NOT_RECONCILED, Gates
from live_executor.live.reconciler import Reconciler
from live_executor.live.requests import Requests
from live_executor.logging import logger

_log = logger("past_journal")
_STANDSTILL_SECONDS, _WORTH_SAYING_SECONDS = 2.0, 5.0
_BLIND_SECONDS = 5.0
"""After a start or a freeze, closing orders wait at most so long for the broker's books: what they close may be closed already."""
_POLICIES = {"cancel": Level.CANCELLING, "flatten": Level.FLATTENING}


def adoption(state: State, acts: Sequence[EmergencyAct], now: datetime, session: str) -> list[e.Input]:
    """Acts as inputs, to be journaled in one commit; ``session`` is the one in which their orders can trade.

    Orders come before halts: a flattening that did not know them would close every position a second time.
    """
    inputs: list[e.Input] = []
    known = {instrument.symbol: instrument.instrument_id for instrument in state.instruments}
    for act in sorted(acts, key=lambda act: (act.order is None, act.number)):
        order = act.order
        if order is not None:
            if order.symbol not in known:
                fresh = Instrument(instrument_id=order.instrument_id, symbol=order.symbol)
                inputs.append(e.InstrumentsAdded(ts=now, instruments=(fresh,)))
                known[order.symbol] = order.instrument_id
            order = replace(order, instrument_id=known[order.symbol], session=session)
        adopted = e.EmergencyAdopted(
            ts=now,
            number=act.number,
            act=act.act.value,
            done_at=act.ts,
            person=act.person,
            reason=act.reason,
            session=state.session,
            level=act.level if act.act is Act.HALT else 0,
            order=order,
            note=act.note or ("" if order is None else f"{order.side.value} {order.quantity} {order.symbol}"),
        )
        inputs.append(adopted)
    return inputs


class Adoption:
    """The emergency log of the account, read whenever it has grown; without a folder there is none."""

    def __init__(self, floor: Floor, folder: Path | None) -> None:
        self._floor, self._log = floor, None if folder is None else EmergencyLog(folder)
        self._read_at, self._busy = -1, False

    def forget_earlier(self) -> None:
        """Before an account is opened: what was done before it, in an account of the same name whose journal is gone, is not its own."""
        if self._log is None or self._floor.state.account:
            return
        try:
            self._log.put_aside(self._floor.now())
        except OSError as error:
            _log.error("the emergency log of an earlier account is still in its place", reason=str(error), mend="move it away")

    def prepare(self) -> None:
        """Reserve the log's room on the disk while there is some."""
        if self._log is None:
            return
        try:
            self._log.prepare()
            self._log.begin_anew(self._floor.known.emergency, self._floor.now())
        except OSError as error:
            _log.error("no room for the emergency log", reason=str(error), mend="free disk space")

    def sync(self) -> None:
        """Journal the acts that are new in the log. Called before anything the broker shows is booked, so that an emergency closing order
        is known as ours before its fill is seen.
        """
        if self._log is None or self._busy or (stamp := self._log.stamp) == self._read_at:
            return
        self._busy = True
        try:
            acts = self._log.read(after=self._floor.known.emergency)
            self._floor.take(adoption(self._floor.state, acts, self._floor.now(), self._session()))
        finally:
            self._busy = False
        self._read_at = stamp

    def _session(self) -> str:
        """The session in which orders that are at the broker now can trade."""
        line, session = self._floor.timeline, self._floor.state.session
        return session if line.is_open and line.session == session else line.next_session


class Fence:
    """Notices that the process was frozen (stopped, swapped out, computer asleep): people may have taken over meanwhile, so it reads
    their requests and the broker's books before it sends anything.
    """

    def __init__(self, floor: Floor, gates: Gates, requests: Requests, reconciler: Reconciler) -> None:
        self._floor, self._gates, self._requests, self._reconciler = floor, gates, requests, reconciler
        self._since = floor.timeline.local_now()
        self._awake_at: datetime | None = None
        self._woke_at: datetime | None = floor.now()
        self._limit = max(_STANDSTILL_SECONDS, 5 * floor.settings.mailbox_every_seconds)

    def begin(self) -> None:
        """Start watching: from now on `passed` is called several times a second."""
        self._awake_at = self._floor.timeline.local_now()

    def passed(self) -> bool:
        """Whether the process was awake since the last call. If not, people's requests are read at once and entries wait for the books."""
        if self._awake_at is None:
            return True
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
        if stood >= _WORTH_SAYING_SECONDS:
            self._floor.trouble(f"the executor stood still for {stood:.1f} s: entries wait until the broker's books are read again")
        return False

    def knows_the_books(self) -> bool:
        """Whether the broker's books were read since the start or the last freeze; also True once that has taken too long to wait for."""
        if self._woke_at is None:
            return True
        read_at = self._reconciler.reconciled_at
        waited = (self._floor.timeline.local_now() - self._since).total_seconds()
        if (read_at is None or read_at < self._woke_at) and 0.0 <= waited < _BLIND_SECONDS:
            return False
        self._woke_at = None
        return True


async def stop_past_journal(floor: Floor, folder: Path | None, error: errors.JournalError) -> None:
    """The journal cannot be written: cancel what is open at the broker (or flatten), as `on_journal_failure` says, by the emergency log."""
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
