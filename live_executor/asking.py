"""A person's order or cancel: left in the running executor's mailbox, then followed in its journal until its outcome is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from hedgefund_core.errors import BrokerUnavailable, ConfigError, DataUnavailable
from hedgefund_core.layout import account_folder, journal_file
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import TERMINAL, Order, OrderStatus
from live_executor.commands import Adopt, Cancel, Place, send
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.queries.account import order_row
from live_executor.queries.shapes import OrderRow
from live_executor.queries.story import BundleReader, Story, tell_on

_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 1.0
"""Seconds to wait for a fill once the broker has the order, so that one which follows at once is shown."""
USAGE, RISK, BROKER = 2, 5, 6
CONFLICT, NOT_CONFIRMED, NOT_FILLED = "conflict", "not_confirmed", "not_filled"


_GIVEN_UP = "trouble_seen"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request.

    ``status`` is that of the worst order, or ``denied``, ``nothing``, ``conflict``, ``not_confirmed``, ``not_filled``.
    """

    account: str
    request_id: str
    status: str
    reason: str
    orders: tuple[OrderRow, ...]

    @property
    def exit_code(self) -> int:
        """2 an id that was used for something else, 5 denied by our rules, 6 rejected by, unclear at or ended by the broker, else 0."""
        if self.status == CONFLICT:
            return USAGE
        if self.status == OrderStatus.DENIED:
            return RISK
        return BROKER if self.status in {OrderStatus.REJECTED, OrderStatus.UNKNOWN, NOT_CONFIRMED, NOT_FILLED} else 0


class Asking:
    """One request to one running executor."""

    def __init__(self, data: Path, account: str, bundles: BundleReader) -> None:
        self._data, self._account, self._bundles = data, account, bundles
        self._folder = data / account_folder(account)
        path = data / journal_file(account)
        mend = f"executor run --mode paper --account {account} --targets FILE"
        if holder_of(self._folder) is None or not path.exists():
            stop = f"; to cancel at the broker without one: executor halt --level 2 --account {account} --reason …"
            raise DataUnavailable(f"no executor runs for account {account}: nobody would carry it out", mend=mend + stop)
        self._reader = JournalReader(path)
        opened = next(self._reader.read(kinds=("account_opened",)), None)
        frame = None if opened is None else opened.frame
        if isinstance(frame, e.AccountOpened) and frame.mode == "replay":
            raise ConfigError(f"account {account} replays past sessions and takes no orders of people", mend=mend)
        self._story, self._asked = Story(), ""

    def place(self, command: Place, patience_seconds: float) -> Fate:
        """Ask for an order and follow it."""
        deadline = time.monotonic() + patience_seconds
        answer = self._answer(self._send(command), command.request_id, deadline)
        if answer.conflict:
            return self._conflict(answer)
        names = answer.orders
        if names:
            self._until(lambda: self._is_known(names), deadline)
            settled = min(deadline, time.monotonic() + _SETTLE_SECONDS)
            self._until(lambda: all(self._order(name).status in TERMINAL for name in names), settled)
        fate = self._fate(command.request_id, names, answer.reason)
        if fate.status == OrderStatus.PENDING_NEW:
            reason = "the broker has not confirmed it yet; the executor goes on: executor orders shows what came of it"
            return msgspec.structs.replace(fate, status=NOT_CONFIRMED, reason=fate.reason or reason)
        if fate.status in {OrderStatus.CANCELED, OrderStatus.EXPIRED} and not any(self._order(name).filled_quantity for name in names):
            reason = fate.reason or f"{fate.status} before anything was filled"
            return msgspec.structs.replace(fate, status=NOT_FILLED, reason=reason)
        return fate

    def cancel(self, command: Cancel, patience_seconds: float) -> Fate:
        """Ask for a cancel and follow it until the broker has confirmed it."""
        deadline = time.monotonic() + patience_seconds
        self._read()
        wanted = {command.client_order_id} if command.client_order_id else {order.client_order_id for order in self._story.state.working}
        answer = self._answer(self._send(command), command.request_id, deadline)
        if answer.conflict:
            return self._conflict(answer)
        self._until(lambda: all(self._order(name).status in TERMINAL for name in wanted), deadline)
        fate = self._fate(command.request_id, tuple(sorted(wanted)), "")
        open_still = [row for row in fate.orders if OrderStatus(row.status) not in TERMINAL]
        if open_still:
            reason = f"{len(open_still)} orders are still open at the broker; the executor goes on asking"
            return msgspec.structs.replace(fate, status=NOT_CONFIRMED, reason=reason)
        return fate

    def adopt(self, command: Adopt, patience_seconds: float) -> None:
        """Ask for the broker's books to be taken over; returns once that is journaled. Raises BrokerUnavailable where it is given up."""
        self._taken(self._send(command), time.monotonic() + patience_seconds)
        for entry in self._reader.read(kinds=(_GIVEN_UP,)):
            if isinstance(entry.frame, e.TroubleSeen) and entry.frame.request_id == command.request_id:
                raise _given_up(entry.frame)

    def _send(self, command: Place | Cancel | Adopt) -> Path:
        self._asked = command.request_id
        return send(self._data, self._account, command)

    def _taken(self, path: Path, deadline: float) -> None:
        self._wait(lambda: not path.exists(), deadline, path)

    def _conflict(self, answer: e.RequestAnswered) -> Fate:
        return Fate(account=self._account, request_id=answer.request_id, status=CONFLICT, reason=answer.reason, orders=())

    def _answer(self, path: Path, request_id: str, deadline: float) -> e.RequestAnswered:
        """The machine's answer to what was left at ``path``: the last one under this id once it has been taken from there. One that was
        asked before gets the first answer's reason, too.

        Raises BrokerUnavailable where the executor has given the request up.
        """
        self._taken(path, deadline)
        found: list[e.RequestAnswered | e.TroubleSeen] = []
        seen = 0

        def look() -> bool:
            nonlocal seen
            for entry in self._reader.read(seen, kinds=("request_answered", _GIVEN_UP)):
                seen, frame = entry.seq, entry.frame
                if isinstance(frame, e.RequestAnswered | e.TroubleSeen) and frame.request_id == request_id:
                    found.append(frame)
            return bool(found)

        self._wait(look, deadline, self._folder)
        answer = found[-1]
        if isinstance(answer, e.TroubleSeen):
            raise _given_up(answer)
        first = next(frame for frame in found if isinstance(frame, e.RequestAnswered))
        if first.reason and not (first is answer or answer.conflict):
            return msgspec.structs.replace(answer, reason=f"{first.reason} ({answer.reason})")
        return answer

    def _wait(self, done: Callable[[], bool], deadline: float, where: Path) -> None:
        if self._until(done, deadline):
            return
        holder = holder_of(self._folder)
        who = "no executor runs any more" if holder is None else f"the executor (process {holder}) has not answered in time"
        mend = f"executor status, then the same command with --request-id {self._asked}"
        raise DataUnavailable(f"{who}; the request was left in {where}", mend=mend)

    def _until(self, done: Callable[[], bool], deadline: float) -> bool:
        while not done():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _is_known(self, names: tuple[str, ...]) -> bool:
        """Whether the broker has said something about each order, or we never sent it."""
        waiting = {OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN}
        return all(self._order(name).status not in waiting for name in names)

    def _order(self, name: str) -> Order:
        self._read()
        found = self._story.orders.get(name)
        if found is None:
            raise DataUnavailable(f"order {name} is not in the journal", mend="executor orders")
        return found

    def _read(self) -> None:
        tell_on(self._story, self._reader.read(self._story.head.seq), self._bundles)

    def _fate(self, request_id: str, names: tuple[str, ...], reason: str) -> Fate:
        rows = tuple(order_row(self._order(name)) for name in names)
        order = ("denied", "rejected", "unknown", "pending_new", "pending_cancel", "expired", "canceled")
        worst = next((status for status in order if any(row.status == status for row in rows)), "")
        status = worst or (rows[0].status if rows else "denied" if reason else "nothing")
        if status == OrderStatus.UNKNOWN:
            reason = reason or "the broker gave no clear answer yet; the executor goes on asking: executor orders shows what came of it"
        why = reason or next((f"{row.denied_by}: {row.reason}".strip(": ") for row in rows if row.reason or row.denied_by), "")
        return Fate(account=self._account, request_id=request_id, status=status, reason=why, orders=rows)


def _given_up(said: e.TroubleSeen) -> BrokerUnavailable:
    return BrokerUnavailable(said.message, mend="executor status shows whether the broker is back; then ask again")
