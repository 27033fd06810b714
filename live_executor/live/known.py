"""An index of the journal for what sightings are compared with and the machine's state does not hold: others' fills, booked activities.

It also knows from which line on the broker's activity list has to be read, and which lines were there before the account was opened.
All of it follows from the journal, so no file beside the journal has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.evidence import Booked, External
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.ledger import Position
from hedgefund_core.trading.observed import ActivitySighting
from live_executor.clock import EPOCH

KINDS = ("account_opened", "external_filled", "cash_posted", "split_processed", "emergency_adopted")
"""Kinds of entries that it is made of."""


class Known:
    """The index of one journal."""

    def __init__(self, frames: Iterable[e.Event] = ()) -> None:
        self._external: dict[str, External] = {}
        self._activities: set[str] = set()
        self._named: tuple[Instrument, ...] = ()
        self._ids: dict[str, str] = {}
        self._before_opening: frozenset[str] = frozenset()
        self._read_through = ""
        self.opened_at, self.broker, self.broker_account = EPOCH, "", ""
        self.emergency = 0
        self.note(tuple(frames))

    def note(self, frames: Sequence[e.Event]) -> None:
        """Take frames of the journal, in order."""
        for frame in frames:
            if isinstance(frame, e.AccountOpened):
                self.opened_at, self.broker, self.broker_account = frame.ts, frame.broker, frame.broker_account
                self._before_opening, self._read_through = frozenset(frame.activities), frame.activities_through
            elif isinstance(frame, e.ExternalFilled):
                before = self._external.get(frame.broker_order_id, External())
                quantity, value = before.quantity + frame.quantity, before.value + frame.quantity * frame.price
                self._external[frame.broker_order_id] = External(quantity=quantity, value=value)
            elif isinstance(frame, e.CashPosted | e.SplitProcessed):
                self._activities.add(frame.activity_id)
            elif isinstance(frame, e.EmergencyAdopted):
                self.emergency = max(self.emergency, frame.number)

    def booked(self, state: State, *, cash: bool = False) -> Booked:
        """What is booked now. ``cash``: for a cash line, which carries a date and no time, so that the opening cannot be compared with it;
        `is_before_opening` tells which lines were in the opening cash.
        """
        if state.instruments is not self._named:  # this is called hundreds of times a second, and names change a few times a day
            self._named = state.instruments
            self._ids = state.former_names | {instrument.symbol: instrument.instrument_id for instrument in state.instruments}
        return Booked(
            orders=state.known_orders,
            external=self._external,
            instruments=self._ids,
            held=_Held(state.ledger.positions),
            activities=self._activities,
            opened_at=EPOCH if cash else self.opened_at,
        )

    def is_before_opening(self, line: ActivitySighting) -> bool:
        """Whether a line was there when the account was opened."""
        return line.activity_id in self._before_opening

    @property
    def newest_activity(self) -> str:
        """The greatest id of a line that is booked, or was there at the opening; ids sort by time."""
        return max(self._activities, default=self._read_through)


class _Held(Mapping[str, Decimal]):
    """A view of the ledger's positions as quantities, without copying them for each sighting."""

    def __init__(self, positions: Mapping[str, Position]) -> None:
        self._positions = positions

    def __getitem__(self, key: str) -> Decimal:
        return self._positions[key].quantity

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)
