"""The machine's state: everything it knows, as one value that is never changed in place.

Fields are plain msgspec types, so that a snapshot can hold them. What a live account needs beside a replayed one stands in a group
of its own, and stays empty where nothing live is seen.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from operator import is_
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.border import floats_of
from hedgefund_core.bundle import Bundle
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features.window import Window
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading.events import Difference, InstrumentStatusSeen, Row, SplitAnnounced
from hedgefund_core.trading.instrument import ZERO, Instrument, Instruments
from hedgefund_core.trading.ledger import Ledger, Position
from hedgefund_core.trading.order import Order, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.router import Parent
from hedgefund_core.trading.state import Ladder, Level

T = TypeVar("T")
REPLAYED_MODES = frozenset({"replay", "backtest"})


class Quotes(msgspec.Struct, frozen=True, kw_only=True):
    """The newest prices of a session, in the order of the account's instruments."""

    session: str
    at: datetime
    bid: Row
    ask: Row
    age_seconds: Row
    gap_seconds: Row | None = None
    closes_at: datetime | None = None
    bands: tuple[Row, Row] | None = None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What is still to be sent in an instrument once orders before it are over: after a cancel is proven, or a closing leg is filled."""

    decision_id: str
    purpose: Purpose
    session: str
    time_in_force: TimeInForce
    order_type: OrderType
    limit_price: Decimal | None
    target: Decimal | None
    """Signed shares to arrive at; None where a person asked for a quantity."""
    change: Decimal
    """Signed shares to trade, where there is no target."""
    after: tuple[str, ...]
    """Orders that have to be over first."""
    needs_fill: bool
    """Whether they have to be filled: the second leg over zero is nothing without the first."""
    request_id: str = ""
    steps: int = 0


class Reissue(msgspec.Struct, frozen=True, kw_only=True):
    """An order in old shares that is to go out again in new ones, once it is surely over and the position is in new shares too."""

    ratio: Decimal
    adjusted: bool


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A person's request that was heard: what it asked for, and the orders it made."""

    asked: str
    orders: tuple[str, ...]


class WindDown(msgspec.Struct, frozen=True, kw_only=True):
    """The book that an expired model left, as signed fractions of equity: what is wound down."""

    digest: str
    weights: dict[str, float]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision in the session could not do: said once, not at every tick."""

    instrument_id: str
    side: Side
    rule: str


class _Last(Generic[T]):
    """What was made of the things asked about last: they are asked about many times between two of their changes."""

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._last: tuple[tuple[object, ...], T] | None = None

    def of(self, *asked: object) -> T:
        last = self._last
        if last is None or not all(map(is_, asked, last[0])):
            self._last = last = (asked, self._make(*asked))
        return last[1]


def _working(orders: Mapping[str, Order]) -> tuple[Order, ...]:
    return tuple(order for order in orders.values() if order.is_working)


def _shares(positions: Mapping[str, Position], instruments: Sequence[Instrument]) -> NDArray[np.float64]:
    if not positions:
        return np.zeros(len(instruments))
    return floats_of([positions[key].quantity if key in positions else ZERO for key in Instruments.of(instruments).ids])


_WORKING, _SHARES = _Last(_working), _Last(_shares)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the machine knows. ``orders`` holds the orders of the current and the previous session only."""

    account: str = ""
    book: str = ""
    mode: str = ""
    instruments: tuple[Instrument, ...] = ()
    former_names: dict[str, str] = {}
    """Symbols that instruments bore before, and their ids."""
    source: str = ""
    price_kind: str = ""
    mandate: Mandate | None = None
    configuration_digest: str = ""
    waived: frozenset[str] = frozenset()
    bundles: dict[str, Bundle] = {}
    model_digest: str = ""
    sessions_per_year: float = 252.0
    window: Window | None = None
    """The last bars."""
    marks: tuple[Decimal | None, ...] = ()
    mark_ages: tuple[int, ...] = ()
    ledger: Ledger = Ledger()
    orders: dict[str, Order] = {}
    ladder: Ladder = Ladder()
    frozen: dict[str, str] = {}
    session: str = ""
    restated: frozenset[str] = frozenset()
    """Instruments whose last price was restated for a split since the last bars."""
    broker_seq: int = 0
    equity: Decimal = ZERO
    external_flow: Decimal = ZERO
    high_water_mark: Decimal = ZERO
    resume_mark: Decimal = ZERO
    """High-water mark since the last resume: what drawdown limits are measured from."""
    expected_volatility: float = float("nan")
    """Ex-ante volatility (a year) of the book at the last mark."""
    sessions_flat: int = -1
    """Marks since the first flat one on FLATTENING; -1 while not flat."""
    stand_ins: int = 0
    decisions: int = 0
    wind_down: WindDown | None = None

    # ---- a live account -----------------------------------------------------------------------------------------------
    opened_at: datetime | None = None
    archive: dict[str, Order] = {}
    """Orders of older sessions, a bounded number: a late fill of ours is ours."""
    gates: frozenset[str] = frozenset()
    """Causes outside the ladder that keep entries from leaving."""
    statuses: dict[str, InstrumentStatusSeen] = {}
    quotes: Quotes | None = None
    marked_equity: Decimal = ZERO
    """Equity at the last mark, money that came or went since included: what a day's loss is measured from."""
    marked: str = ""
    """Session of the last mark."""
    ended: str = ""
    """Session whose regular hours are over."""
    unpriced: frozenset[str] = frozenset()
    """Adopted positions that have not met a market price yet."""
    buying_power: Decimal | None = None
    cash_off: Decimal = ZERO
    """What the last report of a lagging broker had more in cash than we."""
    suspected: tuple[Difference, ...] = ()
    """Differences that the last report of a lagging broker showed for the first time."""
    pending: dict[str, Pending] = {}
    reissues: dict[str, Reissue] = {}
    to_cancel: frozenset[str] = frozenset()
    """Orders that were asked to be cancelled while nobody knew where they were."""
    answered: dict[str, Answered] = {}
    """People's requests by their ids."""
    parents: dict[str, Parent] = {}
    announced: dict[str, SplitAnnounced] = {}
    splits: dict[str, SplitAnnounced] = {}
    """The last split that was booked of an instrument: activity list and position report tell of the same one."""
    sent_at: datetime | None = None
    sent_minute: int = 0
    sent_session: int = 0
    """Orders sent in the minute that began at ``sent_at``, and in this session."""
    rejections: dict[str, int] = {}
    """Orders of the machine that the broker refused in a row in this session, by instrument and leg."""
    barred_until: dict[str, datetime] = {}
    """When what the broker has refused again and again is tried once more; keys as in ``rejections``."""
    refused: tuple[Refused, ...] = ()
    alarmed: bool = False
    """Whether the last prices in the session were beyond a limit that closes everything."""
    flat_confirmed: bool = False
    residues_told: frozenset[str] = frozenset()
    """Instruments of which people know that a part of what is held cannot be closed by an order."""
    running_since: datetime | None = None
    """When the process began that has not ended in order yet."""
    crashed: tuple[datetime, ...] = ()
    """Starts of the last minutes that did not end in order."""

    @property
    def bundle(self) -> Bundle | None:
        """The model in use."""
        return self.bundles.get(self.model_digest)

    @property
    def ring(self) -> Panel | None:
        """The last bars as a panel."""
        return None if self.window is None else self.window.panel

    @property
    def working(self) -> tuple[Order, ...]:
        """Orders that may still trade."""
        return _WORKING.of(self.orders)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Signed shares held of each instrument: float64 (n,)."""
        return _SHARES.of(self.ledger.positions, self.instruments)

    @property
    def known_orders(self) -> Mapping[str, Order]:
        """Orders of these sessions and of older ones."""
        return ChainMap(self.orders, self.archive)

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held that an order could close."""
        return all(held.quantity == ZERO or residue(self, key) == held.quantity for key, held in self.ledger.positions.items())

    @property
    def drawdown(self) -> float:
        """Loss from the high-water mark since the last resume, positive."""
        return float(1 - self.equity / self.resume_mark) if self.resume_mark > ZERO else 0.0

    @property
    def stand_in_due(self) -> bool:
        """Whether a replay's stand-in may resume: automatic FLATTENING, flat for the mandate's number of sessions."""
        waits = self.mandate is not None and self.sessions_flat >= self.mandate.stand_in_sessions
        return waits and self.ladder.level is Level.FLATTENING and not self.ladder.person

    @property
    def is_replayed(self) -> bool:
        """Whether nobody is there and no real broker either."""
        return self.mode in REPLAYED_MODES

    @property
    def in_session(self) -> bool:
        """Whether prices of the session that runs are known."""
        return self.quotes is not None and self.quotes.session == self.session and self.ended != self.session


def residue(state: State, instrument_id: str) -> Decimal:
    """What is held beyond whole lots of a name that the broker trades in whole ones only, signed: no order can close it."""
    status, held = state.statuses.get(instrument_id), state.ledger.quantity(instrument_id)
    if held == ZERO or status is None or status.fractionable or not status.tradable:
        return ZERO
    return held % state.instruments[column_of(state, instrument_id)].lot


def residues(state: State) -> dict[str, Decimal]:
    """Every residue, by instrument."""
    found = {key: residue(state, key) for key in state.ledger.positions}
    return {key: quantity for key, quantity in found.items() if quantity != ZERO}


def symbol_of(state: State, instrument_id: str) -> str:
    """The name that people know an instrument by; its id where the account does not trade it."""
    column = column_of(state, instrument_id)
    return instrument_id if column < 0 else state.instruments[column].symbol


def ids_by_name(state: State, symbols: Iterable[str]) -> dict[str, str]:
    """Ids of the instruments that names lead to. One of before is followed where it is nobody else's, and its new one is not there too."""
    today = {instrument.symbol: instrument.instrument_id for instrument in state.instruments}
    found = {symbol: today[symbol] for symbol in symbols if symbol in today}
    former = {symbol: state.former_names[symbol] for symbol in symbols if symbol not in today and symbol in state.former_names}
    return found | {symbol: key for symbol, key in former.items() if key not in found.values()}


def column_of(state: State, instrument_id: str) -> int:
    """Place of an instrument in the rows of prices; -1 where the account does not trade it."""
    return Instruments.of(state.instruments).places.get(instrument_id, -1)
