"""Turns what a live broker shows (sightings) into news that may be booked. Pure: the result does not depend on the channel a
sighting came by, on the order in which sightings come, or on how often one is repeated.

A live broker does not number its messages. It sends them twice, late, out of order or not at all, and its stream and its queries
disagree for seconds. These rules turn them into one consistent history:

- An order's fills are booked in the order of their cumulative quantity and identified by it, so that a fill has the same id on
  every channel and is booked once.
- If a fill before the one shown is missing, nothing after the hole is booked; the caller is told to ask for it (``gap``).
- An order that has ended stays ended, and an older picture of it never undoes a newer one.
- The end of an order is booked only after all its fills, because the next order is sized by the position they leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
from msgspec.structs import replace

from hedgefund_core.trading import cash_lines
from hedgefund_core.trading import news as n
from hedgefund_core.trading.instrument import NINE_PLACES, ZERO
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.observed import ActivitySighting, Channel, FillSighting, OrderSighting
from hedgefund_core.trading.order import Order, OrderStatus, Side

News = (
    n.OrderAccepted | n.OrderFilled | n.OrderRejected | n.OrderCanceled | n.OrderExpired | n.OrderReplaced | n.OrderDoneForDay
    | n.FillBusted | n.FillCorrected | n.ExternalFilled | n.NewsNotUnderstood | n.CashPosted | n.SplitProcessed
)  # fmt: skip

_LIVING = frozenset(
    {"new", "accepted", "pending_new", "accepted_for_bidding", "partially_filled", "filled", "held", "stopped", "suspended",
     "pending_cancel", "pending_replace", "pending_review"}
)  # fmt: skip
"""Statuses of an order that has not ended. ``filled`` is among them because the fills themselves end the order."""
_DAY_ENDED = frozenset({"done_for_day", "calculated"})
_BUSTS, _CORRECTIONS = frozenset({"trade_bust"}), frozenset({"trade_correct"})
_NOTHING_HAPPENED = frozenset({"cancel_rejected", "order_cancel_rejected", "replace_rejected", "order_replace_rejected"})
_NOT_WHOLE = frozenset({"canceled", "cancelled", "expired"})
"""What a broker may call an order that was filled until the exchange took something of it back."""
_STATUSES = _LIVING | _DAY_ENDED | {"canceled", "cancelled", "expired", "rejected", "replaced"}
_EVENTS = _STATUSES | _BUSTS | _CORRECTIONS | _NOTHING_HAPPENED | {"fill", "partial_fill"}
_BUST, _FIX = "bust:", "fix:"
_encoder = msgspec.json.Encoder(decimal_format="string")
_HALF_CENT = Decimal("0.005")
_NEVER_THERE = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED})
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class External(msgspec.Struct, frozen=True, kw_only=True):
    """Quantity and value booked so far of an order that somebody else sent on this account."""

    quantity: Decimal = ZERO
    value: Decimal = ZERO


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """What is booked already, as far as a sighting is compared with it."""

    orders: Mapping[str, Order]
    """By client order id. Orders of earlier sessions are included, so that a late fill of ours is not taken for somebody else's."""
    external: Mapping[str, External]
    """By the broker's id."""
    instruments: Mapping[str, str]
    """Symbol -> instrument id."""
    held: Mapping[str, Decimal]
    """Signed shares by instrument id."""
    activities: AbstractSet[str] = frozenset()
    opened_at: datetime = _LONG_AGO
    """What others traded before this moment is already in the positions that the account was opened with."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The news that follows from a sighting, and what still has to be asked. The news has ``broker_seq`` 0 until the shell numbers it."""

    news: tuple[News, ...] = ()
    gap: bool = False
    """A fill before this one is missing: ask for the order's fills, then show the sighting again."""
    external: bool = False
    """It is about an order of somebody else."""
    stranger: str = ""
    """A symbol that the account does not know yet: add the instrument, then show the sighting again."""


def numbered(news: Iterable[News], after: int) -> tuple[News, ...]:
    """The news with the sequence numbers that follow ``after``; a live broker gives none, so the shell does when it journals."""
    return tuple(replace(item, broker_seq=after + place) for place, item in enumerate(news, start=1))


def news_of(booked: Booked, seen: OrderSighting | ActivitySighting, *, session: str, settle: bool = False) -> Evidence:
    """What a sighting adds to what is booked.

    Parameters
    ----------
    booked : what is known. seen : what the broker shows. session : the trade date of fills that are new.
    settle : last resort where the missing fills cannot be had. A hole in an order is then booked as one fill, at the price that makes
        the order's total value equal its filled quantity times its average price; a fill line whose order is not known is booked as
        somebody else's.

    Returns
    -------
    Evidence; shown again after its news is booked, the same sighting adds nothing.
    """
    if isinstance(seen, ActivitySighting):
        return _of_activity(booked, seen, session, settle=settle)
    order = booked.orders.get(seen.client_order_id)
    if order is None or _is_booked_as_a_strangers(booked, order, seen):
        return _of_stranger(booked, seen, session, settle=settle)
    if seen.broker_order_id and order.broker_order_id not in {"", seen.broker_order_id}:
        return Evidence(news=(_not_understood(f"a second broker order {seen.broker_order_id} of {seen.client_order_id}", seen),))
    if seen.event in _BUSTS | _CORRECTIONS:
        return _of_takeback(order, seen, session)
    return _of_order(order, seen, session, settle=settle)


def _is_booked_as_a_strangers(booked: Booked, order: Order, seen: OrderSighting) -> bool:
    """Whether an order of ours was given up as lost and its fills, listed before any query showed it, were booked as somebody else's."""
    return not (order.is_working or order.broker_order_id) and seen.broker_order_id in booked.external


# ---- our own orders -----------------------------------------------------------------------------------------------------


def _of_order(order: Order, seen: OrderSighting, session: str, *, settle: bool) -> Evidence:
    found: list[News] = []
    if seen.status == "rejected" and seen.filled_quantity == ZERO and order.filled_quantity == ZERO:
        if order.is_working:
            found.append(n.OrderRejected(ts=seen.at, broker_seq=0, client_order_id=order.client_order_id, reason=seen.reason))
        return Evidence(news=tuple(found))
    if not order.broker_order_id and seen.broker_order_id and order.status is not OrderStatus.DENIED:
        found.append(_accepted(order, seen))
    fills = _fills(order, seen, session, settle=settle)
    if fills is None:
        return Evidence(news=tuple(found), gap=True)
    found += fills
    filled = order.filled_quantity + sum((fill.quantity for fill in fills), ZERO)
    return Evidence(news=(*found, *_end(order, seen, filled)))


def _accepted(order: Order, seen: OrderSighting) -> n.OrderAccepted:
    return n.OrderAccepted(ts=seen.at, broker_seq=0, client_order_id=order.client_order_id, broker_order_id=seen.broker_order_id)


def _fills(order: Order, seen: OrderSighting, session: str, *, settle: bool) -> list[n.OrderFilled] | None:
    """The fills that are new, or None where a fill before them is missing."""
    busts = _busts(order)
    if seen.fill is not None:
        total = seen.fill.cumulative_quantity if seen.fill.cumulative_quantity is not None else seen.filled_quantity
        if busts and _before_takeback(order, seen.fill.at):
            return []
        piece = _piece(order.filled_quantity, order.filled_value, total, seen.fill, _value_of(seen, total))
    else:
        total, piece = seen.filled_quantity, None
        if total <= order.filled_quantity or (busts and _before_takeback(order, seen.at)):
            return []
    if piece is None and settle:
        piece = _settled(order.filled_quantity, order.filled_value, total, _value_of(seen, total))
    if piece is None:
        return None
    quantity, price = piece
    if quantity <= ZERO:
        return []
    return [_filled(order, seen, f"{seen.broker_order_id}:{total.normalize():f}{'~' * busts}", quantity, price, session)]


def _filled(order: Order, seen: OrderSighting, fill_id: str, quantity: Decimal, price: Decimal, session: str) -> n.OrderFilled:
    return n.OrderFilled(
        ts=seen.at if seen.fill is None else seen.fill.at,
        broker_seq=0,
        client_order_id=order.client_order_id,
        broker_order_id=seen.broker_order_id,
        fill_id=fill_id,
        quantity=quantity,
        price=price,
        commission=ZERO,
        session=session,
    )


def _piece(booked: Decimal, value: Decimal, total: Decimal, fill: FillSighting, whole: Decimal | None) -> tuple[Decimal, Decimal] | None:
    """The part of a fill that is new, as (quantity, price). Quantity zero: all of it is booked. None: a fill before it is missing."""
    if total <= booked:
        return ZERO, fill.price
    before = total - fill.quantity
    if before > booked:
        return None
    if before == booked or whole is None:
        return total - booked, fill.price
    settled = _settled(booked, value, total, whole)  # the channels cut this fill differently: the order's total value gives the price
    return settled if settled is not None else (total - booked, fill.price)


def _value_of(seen: OrderSighting, total: Decimal) -> Decimal | None:
    """Value of all fills up to ``total``; None where the average price shown is of another total."""
    if seen.average_price is None or seen.filled_quantity != total:
        return None
    return seen.average_price * total


def _settled(booked: Decimal, value: Decimal, total: Decimal, whole: Decimal | None) -> tuple[Decimal, Decimal] | None:
    """The missing quantity at the price that makes the order's value right; None where the value is unknown or gives no price."""
    quantity = total - booked
    if quantity <= ZERO:
        return ZERO, ZERO
    if whole is None:
        return None
    price = ((whole - value) / quantity).quantize(NINE_PLACES, rounding=ROUND_HALF_EVEN)
    return (quantity, price) if price > ZERO else None


def _end(order: Order, seen: OrderSighting, filled: Decimal) -> tuple[News, ...]:
    """The order's end, once all its fills are booked; nothing if it has ended already or the picture is an older one."""
    strange = bool(seen.event) and seen.event not in _EVENTS
    if (strange or seen.status not in _STATUSES) and seen.channel is Channel.STREAM:  # a query would repeat it every few seconds
        return (_not_understood(f"{seen.event or 'no event'} with status {seen.status!r}", seen),)
    if filled >= order.quantity or not (order.is_working or (order.status is OrderStatus.FILLED and seen.status in _NOT_WHOLE)):
        return ()
    if seen.status == "filled" and seen.filled_quantity == filled:
        return (_not_understood(f"filled at {filled} of {order.quantity}", seen),)
    if seen.status in _DAY_ENDED and order.status in {OrderStatus.DONE_FOR_DAY, OrderStatus.PENDING_CANCEL}:
        return ()
    ended = _how_it_ended(order.client_order_id, seen)
    return () if ended is None else (ended,)


def _how_it_ended(key: str, seen: OrderSighting) -> News | None:
    """The end that a status tells; None for a status that is none."""
    match seen.status:
        case "canceled" | "cancelled":
            return n.OrderCanceled(ts=seen.at, broker_seq=0, client_order_id=key)
        case "expired":
            return n.OrderExpired(ts=seen.at, broker_seq=0, client_order_id=key)
        case "rejected":
            return n.OrderRejected(ts=seen.at, broker_seq=0, client_order_id=key, reason=seen.reason)
        case "replaced":
            return n.OrderReplaced(ts=seen.at, broker_seq=0, client_order_id=key, replaced_by=seen.replaced_by)
        case "done_for_day" | "calculated":
            return n.OrderDoneForDay(ts=seen.at, broker_seq=0, client_order_id=key)
    return None


# ---- what an exchange takes back ------------------------------------------------------------------------------------------


def _busts(order: Order) -> int:
    return sum(fill_id.startswith(_BUST) for fill_id in order.fill_ids)


def taken_back(fill_id: str) -> str:
    """The mark among an order's fill ids that says this fill was busted."""
    return _BUST + fill_id


def corrected_at(at: datetime) -> str:
    """The mark among an order's fill ids that says when a fill was busted or corrected, so that a repetition is recognised."""
    return _FIX + at.isoformat()


def _before_takeback(order: Order, at: datetime) -> bool:
    """Whether a picture is not newer than the last bust or correction, so that what it shows may no longer hold."""
    times = [datetime.fromisoformat(mark.removeprefix(_FIX)) for mark in order.fill_ids if mark.startswith(_FIX)]
    return bool(times) and at <= max(times)


def _pieces(order: Order) -> dict[str, Decimal]:
    """Quantity of each fill that is still booked, by fill id, worked out from the cumulative quantities that the ids end with."""
    found, held = dict[str, Decimal](), ZERO
    for mark in order.fill_ids:
        if mark.startswith(_BUST):
            held -= found.pop(mark.removeprefix(_BUST), ZERO)
        elif not mark.startswith(_FIX) and ":" in mark:
            total = Decimal(mark.rsplit(":", 1)[1].rstrip("~"))
            found[mark], held = total - held, total
    return found


def _of_takeback(order: Order, seen: OrderSighting, session: str) -> Evidence:
    """News of a bust or a correction; nothing if it was booked before."""
    if seen.fill is None:
        return Evidence(news=(_not_understood(f"{seen.event} without a fill", seen),))
    told = seen.event in _CORRECTIONS and corrected_at(seen.fill.at) in order.fill_ids
    if told or (_busts(order) and _before_takeback(order, seen.fill.at)):
        return Evidence()
    pieces, average = _pieces(order), order.average_fill_price
    matching = [fill_id for fill_id, quantity in pieces.items() if quantity == seen.fill.quantity]
    named = matching or (list(pieces) if len(pieces) == 1 else [])
    if not named or average is None:
        return Evidence(news=(_not_understood(f"{seen.event} of a fill that is not booked here", seen),), gap=True)
    fill_id, ours = named[-1], pieces[named[-1]]
    common = {"ts": seen.fill.at, "broker_seq": 0, "client_order_id": order.client_order_id, "fill_id": fill_id, "session": session}
    whole = _value_of(seen, seen.filled_quantity)
    if seen.event in _BUSTS:
        if len(pieces) > 1 and seen.filled_quantity != order.filled_quantity - ours:
            return Evidence(news=(_not_understood(f"{seen.event} that was told after other fills", seen),))
        price = average if len(pieces) == 1 else _price_booked(order, seen, ours, whole)
        busted = msgspec.convert({**common, "quantity": ours, "price": price}, n.FillBusted)
        return Evidence(news=(busted, *_end(order, seen, order.filled_quantity - ours)))
    return _corrected(order, seen, seen.fill, (fill_id, ours), session)


def _corrected(order: Order, seen: OrderSighting, fill: FillSighting, booked: tuple[str, Decimal], session: str) -> Evidence:
    """News of a corrected fill. The price it was booked at follows from the order's value, unless other fills came in between."""
    fill_id, ours = booked
    whole, after = _value_of(seen, seen.filled_quantity), order.filled_quantity - ours + fill.quantity
    single = ours == order.filled_quantity
    if not single and whole is not None and seen.filled_quantity != after:
        return Evidence(news=(_not_understood(f"{seen.event} that was told after other fills", seen),))
    average = order.filled_value / order.filled_quantity
    price = average if single or whole is None else (order.filled_value + fill.quantity * fill.price - whole) / ours
    if (ours, price) == (fill.quantity, fill.price):
        return Evidence()
    news = n.FillCorrected(
        ts=fill.at, broker_seq=0, client_order_id=order.client_order_id, fill_id=fill_id, session=session, quantity=ours, price=price,
        new_quantity=fill.quantity, new_price=fill.price,
    )  # fmt: skip
    return Evidence(news=(news,))


def _price_booked(order: Order, seen: OrderSighting, quantity: Decimal, whole: Decimal | None) -> Decimal:
    """Price that a busted fill was booked at: the one in the message, unless the value left shows that we missed a correction.

    An average that the bust left as it was shows nothing: the broker has not worked it out again.
    """
    said = ZERO if seen.fill is None else seen.fill.price
    if whole is None or seen.filled_quantity != order.filled_quantity - quantity:
        return said
    left, before = (order.filled_value - whole) / quantity, order.filled_value / order.filled_quantity
    nothing_new = min(abs(left - said), abs(left - before)) * quantity < _HALF_CENT
    return said if left <= ZERO or nothing_new else left.quantize(NINE_PLACES, rounding=ROUND_HALF_EVEN)


# ---- strangers ------------------------------------------------------------------------------------------------------------


def _of_stranger(booked: Booked, seen: OrderSighting, session: str, *, settle: bool) -> Evidence:
    """An order that somebody else sent on this account: its fills change our position and cash, so they are booked."""
    at = seen.at if seen.fill is None else seen.fill.at
    known = booked.external.get(seen.broker_order_id, External())
    total = seen.filled_quantity
    if seen.fill is not None and seen.fill.cumulative_quantity is not None:
        total = seen.fill.cumulative_quantity
    unseen = _unless_strange(booked, seen, at, known, total)
    if unseen is not None:
        return unseen
    whole = _value_of(seen, total)
    piece = None if seen.fill is None else _piece(known.quantity, known.value, total, seen.fill, whole)
    if piece is None and (settle or known.quantity == ZERO):
        piece = _settled(known.quantity, known.value, total, whole)
    if piece is None:
        return Evidence(gap=True, external=True)
    return _external(booked, seen, total, piece, at=at, session=session)


def _unless_strange(
    booked: Booked, seen: OrderSighting | ActivitySighting, at: datetime, known: External, total: Decimal
) -> Evidence | None:
    """The answer where a stranger's fill is not to be booked (known, from before the account was opened, unreadable); else None."""
    if at <= booked.opened_at or total <= known.quantity:
        return Evidence(external=True)
    if seen.symbol not in booked.instruments:
        return Evidence(external=True, stranger=seen.symbol)
    if _side(seen.side) is None:
        return Evidence(news=(_not_understood(f"side {seen.side!r} of a stranger's order", seen),), external=True)
    return None


def _side(word: str) -> Side | None:
    """Side of a word such as ``sell_short``."""
    return next((side for side in Side if word.startswith(side.value)), None)


def _external(
    booked: Booked,
    seen: OrderSighting | ActivitySighting,
    total: Decimal,
    piece: tuple[Decimal, Decimal],
    *,
    at: datetime,
    session: str,
) -> Evidence:
    quantity, price = piece
    side = _side(seen.side)
    if quantity <= ZERO or side is None:
        return Evidence(external=True)
    news = n.ExternalFilled(
        ts=at,
        broker_seq=0,
        instrument_id=booked.instruments[seen.symbol],
        broker_order_id=seen.broker_order_id,
        fill_id=f"{seen.broker_order_id}:{total.normalize():f}",
        side=side,
        quantity=quantity,
        price=price,
        commission=ZERO,
        session=session,
    )
    return Evidence(news=(news,), external=True)


# ---- the activity list ------------------------------------------------------------------------------------------------------


def _of_activity(booked: Booked, seen: ActivitySighting, session: str, *, settle: bool) -> Evidence:
    if seen.activity_type == "FILL":
        return _of_fill_line(booked, seen, session, settle=settle)
    if seen.activity_id in booked.activities or seen.at <= booked.opened_at:
        return Evidence()
    if seen.activity_type in cash_lines.SPLITS:
        return _of_split(booked, [seen], session)
    kind, amount = cash_lines.kind_of(seen), seen.net_amount
    told = seen.activity_type in cash_lines.NAMES or (kind is not None and amount is not None)
    strange = () if told else (_not_understood(f"activity {seen.activity_type}", seen),)
    if not amount:
        return Evidence(news=strange)
    posted = n.CashPosted(
        ts=seen.at, broker_seq=0, activity_id=seen.activity_id, cash_kind=kind or CashKind.ADJUSTMENT, amount=amount, session=session,
        instrument_id=booked.instruments.get(seen.symbol, ""),
    )  # fmt: skip
    return Evidence(news=(posted, *strange))  # the cash has moved, so it is booked even if the activity type is unknown


def _of_fill_line(booked: Booked, seen: ActivitySighting, session: str, *, settle: bool) -> Evidence:
    if not (seen.quantity and seen.price and seen.quantity > ZERO and seen.price > ZERO):
        return Evidence(news=(_not_understood("a fill without quantity or price", seen),))
    order = next((o for o in booked.orders.values() if o.broker_order_id and o.broker_order_id == seen.broker_order_id), None)
    total = seen.cumulative_quantity if seen.cumulative_quantity is not None else seen.quantity
    fill = FillSighting(execution_id=seen.activity_id, quantity=seen.quantity, price=seen.price, cumulative_quantity=total, at=seen.at)
    if order is not None:
        return _of_order(order, _as_order(order, seen, total, fill), session, settle=False)
    if not settle and seen.broker_order_id not in booked.external and nameless(booked, seen, session):
        return Evidence(gap=True)  # it may be of an order of ours whose broker id we never heard: those are looked up first
    known = booked.external.get(seen.broker_order_id, External())
    unseen = _unless_strange(booked, seen, seen.at, known, total)
    piece = _piece(known.quantity, known.value, total, fill, None)
    if unseen is not None or piece is None:
        return unseen or Evidence(gap=True, external=True)
    return _external(booked, seen, total, piece, at=seen.at, session=session)


def _as_order(order: Order, seen: ActivitySighting, total: Decimal, fill: FillSighting) -> OrderSighting:
    """A line of the activity list as an update of its order; it tells the fill and nothing else of the order."""
    return OrderSighting(
        client_order_id=order.client_order_id, broker_order_id=seen.broker_order_id, symbol=seen.symbol, side=seen.side,
        quantity=None, filled_quantity=total, average_price=None, status="partially_filled", channel=Channel.QUERY, at=seen.at, fill=fill,
    )  # fmt: skip


def nameless(booked: Booked, seen: ActivitySighting, session: str) -> list[Order]:
    """Our orders that a fill line may be of: same instrument and side, and no broker id known, even if they count as ended."""
    key, side = booked.instruments.get(seen.symbol), _side(seen.side)
    return [
        order
        for order in booked.orders.values()
        if not order.broker_order_id and order.instrument_id == key and order.side is side
        and (order.is_working or order.session >= session)  # an auction order of the night before may have been filled unseen
        and order.status not in _NEVER_THERE
    ]  # fmt: skip


def split_news(booked: Booked, lines: Sequence[ActivitySighting], *, session: str) -> Evidence:
    """One split from all its lines of a day: some brokers list the old shares going out and the new ones coming in.

    One booked line means that the split is booked. The list can be read again, and a line left alone would look like another split.
    """
    fresh = [line for line in lines if line.at > booked.opened_at]
    is_booked = any(line.activity_id in booked.activities for line in lines)
    return _of_split(booked, fresh, session) if fresh and not is_booked else Evidence()


def _of_split(booked: Booked, lines: Sequence[ActivitySighting], session: str) -> Evidence:
    first = lines[0]
    key = booked.instruments.get(first.symbol)
    if key is None:
        return Evidence(stranger=first.symbol)
    held = booked.held.get(key, ZERO)
    ratio = cash_lines.ratio_in_words(first.description)
    change = sum((line.quantity for line in lines if line.quantity is not None), ZERO)
    if ratio is None and ZERO not in {held, change} and (held + change) / held > ZERO:
        ratio = (held + change) / held
    if held == ZERO:
        return Evidence()
    if ratio is None:
        return Evidence(news=(_not_understood(f"a split of {first.symbol} without a ratio", first),))
    in_lieu = sum((line.net_amount for line in lines if line.net_amount is not None), ZERO)
    news = n.SplitProcessed(
        ts=first.at, broker_seq=0, activity_id=first.activity_id, instrument_id=key, ratio=ratio, quantity_after=held * ratio,
        cash_in_lieu=in_lieu, session=session,
    )  # fmt: skip
    return Evidence(news=(news,))


def _not_understood(what: str, seen: OrderSighting | ActivitySighting) -> n.NewsNotUnderstood:
    return n.NewsNotUnderstood(ts=seen.at, broker_seq=0, what=what, payload=_encoder.encode(seen).decode())
