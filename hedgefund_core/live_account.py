"""What an account on the wall clock reads from prices and statuses: marks, equity in the session, inputs of its decisions. All pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
from msgspec.structs import replace

from hedgefund_core.account import decision_inputs, prices_of, with_flow
from hedgefund_core.account_state import Quotes, State, column_of, residues, symbol_of
from hedgefund_core.decision import DecisionInputs
from hedgefund_core.errors import DataInvalid
from hedgefund_core.freezes import FROZEN_BY_SPLIT, FROZEN_BY_STRANGER, causes_of
from hedgefund_core.live_inputs import LiveInputs
from hedgefund_core.quant.bars import FIELDS, Panel
from hedgefund_core.quant.features.window import Window
from hedgefund_core.risk import broker_buying_power
from hedgefund_core.trading import ledger as books
from hedgefund_core.trading.capabilities import EASTERN
from hedgefund_core.trading.events import DecisionDue, Event, InstrumentRenamed, InstrumentsAdded, InstrumentStatusSeen, PricesSeen, Row
from hedgefund_core.trading.instrument import ZERO, Instruments, to_money, to_price
from hedgefund_core.trading.order import Leg, Order, Purpose

OLDEST_LAST_PRICE = timedelta(days=4)
"""A last price of a long week-end counts as the last session's; an older one is stale. Source: default."""
GAPS_OF_AGE = 5.0
"""An instrument whose prices come rarely may be as old as so many of its usual gaps. Source: contract on time."""
MOST_PATIENCE = 300.0
"""Seconds: however rarely a name trades, an older quote says nothing of where it would trade now. Source: default."""
MOST_REJECTIONS = 3
"""So many orders of the machine that the broker refused in a row: each further one of the instrument is waited for."""
RETRY_GROWTH = 1.5
"""Of the pauses between tries in a row: a broker that comes round is asked within half of the time that it took. Source: default."""
_MINUTE = timedelta(minutes=1)
_LEAST_MARK = Decimal("0.000001")


# ---- prices ---------------------------------------------------------------------------------------------------------------


def with_prices(state: State, event: PricesSeen) -> State:
    """Marks, quotes and equity of a moment in the session; an instrument without a price keeps its last good one."""
    for name in ("price", "bid", "ask", "age_seconds"):
        _check(name, getattr(event, name), len(state.instruments), event.session)
    for name, row in (("gap_seconds", event.gap_seconds), *(("bands", row) for row in event.bands or ())):
        if row is not None:
            _check(name, row, len(state.instruments), event.session)
    event = _in_new_shares(state, event)
    fresh = [price is not None for price in event.price]
    marks = tuple(old if price is None else to_price(price) for price, old in zip(event.price, state.marks, strict=True))
    oldest = OLDEST_LAST_PRICE.total_seconds()
    ages = tuple(
        (0 if age is None or age <= oldest else 2) if known else old
        for known, age, old in zip(fresh, event.age_seconds, state.mark_ages, strict=True)
    )
    pairs = zip(event.bid, event.ask, strict=True)
    sound = [known and (bid is None or ask is None or bid <= ask) for known, (bid, ask) in zip(fresh, pairs, strict=True)]
    seconds = tuple(age if good else None for good, age in zip(sound, event.age_seconds, strict=True))  # a crossed quote is none
    quotes = Quotes(
        session=event.session, at=event.ts, bid=event.bid, ask=event.ask, age_seconds=seconds, gap_seconds=event.gap_seconds,
        closes_at=event.closes_at, bands=event.bands,
    )  # fmt: skip
    return with_equity(repriced(state, replace(state, marks=marks, mark_ages=ages, quotes=quotes), event.price))


def _check(name: str, cells: Row, n: int, session: str) -> None:
    known = [cell for cell in cells if cell is not None]
    lowest = min(known, default=1.0)
    good = all(map(isfinite, known)) and (lowest > 0.0 or (lowest == 0.0 and name.endswith("_seconds")))
    if len(cells) != n or not good:
        message = f"{name} seen in session {session} has {len(cells)} values for {n} instruments, or one that is no number above zero"
        raise DataInvalid(message, mend="the feed's adapter must leave out what is no price")


def _in_new_shares(state: State, event: PricesSeen) -> PricesSeen:
    """Prices of before a split that is booked already (yesterday's, seen before the open), restated: the position is in new shares."""
    rows = {"price": event.price, "bid": event.bid, "ask": event.ask}
    for key, split in state.splits.items():
        column = column_of(state, key)
        age = event.age_seconds[column]
        if age is not None and _market_day(event.ts, age) < split.session:
            rows = {name: _divided(row, column, float(split.ratio)) for name, row in rows.items()}
    return event if rows["price"] is event.price else replace(event, **rows)


def _divided(row: Row, column: int, ratio: float) -> Row:
    cell = row[column]
    return (*row[:column], None if cell is None else cell / ratio, *row[column + 1 :])


def _market_day(at: datetime, age: float) -> str:
    return (at - timedelta(seconds=age)).astimezone(EASTERN).date().isoformat()


def is_priced_before(state: State, instrument_id: str, session: str) -> bool:
    """Whether the mark of an instrument is of a day before ``session``."""
    quotes, column = state.quotes, column_of(state, instrument_id)
    age = None if quotes is None else quotes.age_seconds[column]
    return state.session < session if quotes is None or age is None else _market_day(quotes.at, age) < session


def repriced(before: State, state: State, seen: Row) -> State:
    """Adopted positions met the market for the first time: what they are worth came with them and is no gain."""
    if not state.unpriced:
        return state
    old, new = prices_of(before), prices_of(state)
    fresh = {instrument.instrument_id for instrument, price in zip(state.instruments, seen, strict=True) if price is not None}
    met = state.unpriced & fresh
    change = sum((state.ledger.quantity(key) * (new[key] - old.get(key, ZERO)) for key in sorted(met)), ZERO)
    ledger = replace(state.ledger, in_kind=state.ledger.in_kind + to_money(change))
    return replace(state, ledger=ledger, unpriced=state.unpriced - met)


def with_equity(state: State) -> State:
    """Equity at the marks, where every held instrument has one."""
    state, prices = with_flow(state), prices_of(state)
    if any(position.quantity != ZERO and key not in prices for key, position in state.ledger.positions.items()):
        return state
    return replace(state, equity=books.equity(state.ledger, prices))


def aged(state: State) -> State:
    """At a session's end: a price that was not seen in it is a session older."""
    seen = state.quotes is not None and state.quotes.session == state.session
    known = state.quotes.age_seconds if state.quotes is not None and seen else (None,) * len(state.instruments)
    ages = tuple(age if cell is not None else age + 1 for age, cell in zip(state.mark_ages, known, strict=True))
    return replace(state, mark_ages=ages)


def day_return(state: State) -> float:
    """Return since the last mark, money that came or went taken out."""
    basis = state.marked_equity
    return float((state.equity - basis) / basis) if basis > ZERO else 0.0


# ---- instruments and positions --------------------------------------------------------------------------------------------------


def with_instruments(state: State, event: InstrumentsAdded) -> State:
    """More columns at the end of every row; of their past nothing is known until history is loaded anew."""
    known = {instrument.instrument_id for instrument in state.instruments}
    fresh = tuple(instrument for instrument in event.instruments if instrument.instrument_id not in known)
    if not fresh:
        return state
    n, quotes = len(fresh), state.quotes
    nothing = (None,) * n
    if quotes is not None:
        rows = {"bid": quotes.bid, "ask": quotes.ask, "age_seconds": quotes.age_seconds, "gap_seconds": quotes.gap_seconds}
        bands = None if quotes.bands is None else (quotes.bands[0] + nothing, quotes.bands[1] + nothing)
        quotes = replace(quotes, bands=bands, **{name: None if row is None else row + nothing for name, row in rows.items()})
    return replace(
        state,
        instruments=Instruments(state.instruments + fresh),
        marks=state.marks + nothing,
        mark_ages=state.mark_ages + (0,) * n,
        quotes=quotes,
        window=None if state.ring is None else Window.of(_widened(state.ring, tuple(instrument.symbol for instrument in fresh))),
    )


def with_name(state: State, event: InstrumentRenamed) -> State:
    """An instrument under its new symbol: in its column, its past and the orders that may still trade."""
    key = event.instrument_id
    instruments = Instruments(replace(i, symbol=event.symbol) if i.instrument_id == key else i for i in state.instruments)
    working = {name: replace(o, symbol=event.symbol) for name, o in state.orders.items() if o.instrument_id == key and o.is_working}
    window = None if state.ring is None else Window.of(dataclasses.replace(state.ring, symbols=instruments.symbols))
    former = {name: known for name, known in state.former_names.items() if name != event.symbol} | {symbol_of(state, key): key}
    return replace(
        state, instruments=instruments, former_names=former, orders={**state.orders, **working} if working else state.orders, window=window
    )


def _widened(ring: Panel, symbols: tuple[str, ...]) -> Panel:
    """A panel with columns of which nothing is known: no bars, no splits, no dividends."""
    shape = (ring.shape[0], len(symbols))
    neutral = {"split_ratios": 1.0, "dividends": 0.0}
    grids = {name: getattr(ring, name) for name in (*FIELDS, *neutral)}
    wide: dict[str, Any] = {
        name: np.hstack([grid, np.full(shape, neutral.get(name, np.nan))]) for name, grid in grids.items() if grid is not None
    }
    return dataclasses.replace(ring, symbols=(*ring.symbols, *symbols), **wide)


def with_position(state: State, instrument_id: str, quantity: Decimal, average_price: Decimal) -> State:
    """Adopt a position. Before the account has traded it is a flow in kind; later it is a difference that shows in the result."""
    column = column_of(state, instrument_id)
    marks, mark = state.marks, state.marks[column]
    unpriced = state.unpriced
    if mark is None and quantity != ZERO:
        mark = max(to_money(average_price), _LEAST_MARK)
        marks = (*marks[:column], mark, *marks[column + 1 :])
        unpriced |= {instrument_id}
    change = quantity - state.ledger.quantity(instrument_id)
    ledger = books.adopt(state.ledger, instrument_id=instrument_id, quantity=quantity, average_price=average_price)
    if not state.marked and not state.orders and mark is not None:
        ledger = replace(ledger, in_kind=ledger.in_kind + to_money(change * mark))
    return with_equity(replace(state, marks=marks, unpriced=unpriced, ledger=ledger))


def lacks_buying_power(state: State) -> bool:
    """Whether an entry of the last decision waits for what a sale will free."""
    return any(denied.rule == broker_buying_power.RULE.name for denied in state.refused)


# ---- a decision's inputs ------------------------------------------------------------------------------------------------------


def live_decision_inputs(state: State, event: DecisionDue, purpose: Purpose) -> DecisionInputs:
    """What a decision on the wall clock may know."""
    return decision_inputs(state, event, purpose, live_inputs(state, event))


def live_inputs(state: State, event: DecisionDue) -> LiveInputs:
    """Quotes, statuses, gates and rates of the moment."""
    n, quotes = len(state.instruments), state.quotes
    nothing: Row = (None,) * n
    inside = state.in_session and event.for_session == event.session
    ages = quote_ages(state, event.ts) if inside else np.zeros(n)
    keys = [instrument.instrument_id for instrument in state.instruments]
    splitting = frozenset(key for key in state.frozen if FROZEN_BY_SPLIT in causes_of(state, key))
    closed = frozenset(key for key, status in state.statuses.items() if status.halted or not status.tradable)
    return LiveInputs(
        opened="" if state.opened_at is None else state.opened_at.isoformat(),
        number=state.decisions,
        in_session=inside,
        bid=quotes.bid if quotes is not None and inside else nothing,
        ask=quotes.ask if quotes is not None and inside else nothing,
        bands=quotes.bands if quotes is not None and inside else None,
        quote_age=ages,
        quote_patience=patience_of(state) if inside else np.full(n, np.nan),
        seconds_left=_seconds_left(quotes, event.ts) if inside else float("nan"),
        quantities=event.target_quantities or {},
        gates=tuple(sorted(state.gates)),
        no_short=frozenset(key for key in keys if not _lends(state.statuses.get(key))),
        closed=closed if inside else closed | splitting,
        waiting=frozenset(state.pending),
        barred=frozenset(key for key, until in state.barred_until.items() if event.ts < until),
        left_alone=splitting | {key for key in state.frozen if FROZEN_BY_STRANGER in causes_of(state, key)},
        whole_only=frozenset(residues(state)),
        buying_power=state.buying_power,
        sent_minute=state.sent_minute if state.sent_at is not None and abs(event.ts - state.sent_at) < _MINUTE else 0,
        sent_session=state.sent_session,
    )


def _seconds_left(quotes: Quotes | None, now: datetime) -> float:
    return float("nan") if quotes is None or quotes.closes_at is None else max((quotes.closes_at - now).total_seconds(), 0.0)


def _lends(status: InstrumentStatusSeen | None) -> bool:
    """Whether an instrument can be sold short; one of which nothing is known cannot."""
    return status is not None and status.shortable and status.easy_to_borrow


def quote_ages(state: State, now: datetime) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Seconds since each price was known to hold: what it was when it was seen, and the time since. NaN = none in this session."""
    n, quotes = len(state.instruments), state.quotes
    if quotes is None or quotes.session != state.session:
        return np.full(n, np.nan)
    passed = max((now - quotes.at).total_seconds(), 0.0)
    return np.array([np.nan if age is None else age + passed for age in quotes.age_seconds], dtype=np.float64)


def is_fresh(state: State, instrument_id: str, now: datetime) -> bool:
    """Whether an instrument's quote is young enough to trade on."""
    floor = None if state.mandate is None else state.mandate.limits.max_quote_age_seconds
    column = column_of(state, instrument_id)
    if floor is None or column < 0 or not state.in_session:
        return False
    return bool(quote_ages(state, now)[column] <= np.fmax(floor, patience_of(state)[column]))


def patience_of(state: State) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What a quote of each instrument may be old by its own rhythm, seconds; NaN = nothing is known of it."""
    gaps = None if state.quotes is None else state.quotes.gap_seconds
    if gaps is None:
        return np.full(len(state.instruments), np.nan)
    return np.minimum(GAPS_OF_AGE * np.array([np.nan if gap is None else gap for gap in gaps], dtype=np.float64), MOST_PATIENCE)


# ---- counts ------------------------------------------------------------------------------------------------------------------


def counted(state: State, orders: tuple[Order, ...], event: Event) -> State:
    """The rate of orders, and the buying power that entries take until the broker says it anew."""
    if state.is_replayed or not orders:
        return state
    new_minute = state.sent_at is None or abs(event.ts - state.sent_at) >= _MINUTE  # the broker's clock may have been set back
    need = sum((order.quantity * order.reference_price for order in orders if order.leg is Leg.OPEN), ZERO)
    return replace(
        state,
        sent_at=event.ts if new_minute else state.sent_at,
        sent_minute=len(orders) if new_minute else state.sent_minute + len(orders),
        sent_session=state.sent_session + len(orders),
        buying_power=None if state.buying_power is None else state.buying_power - need,
    )


def check_quantities(state: State, given: Mapping[str, Decimal] | None) -> None:
    """Refuse quantities from outside that are no numbers or name a stranger."""
    if not given:
        return
    known = {instrument.instrument_id for instrument in state.instruments}
    wrong = sorted(key for key, quantity in given.items() if key not in known or not quantity.is_finite())
    if wrong:
        message = f"target quantities of {', '.join(wrong[:5])}: not an instrument of the account, or no number"
        raise DataInvalid(message, mend="correct the target quantities")
