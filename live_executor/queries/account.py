"""Views of the account: status, positions, orders, fills, profit, statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from hedgefund_core.account import prices_of, with_flow
from hedgefund_core.account_state import residues
from hedgefund_core.trading.instrument import ZERO, to_money
from hedgefund_core.trading.ledger import equity as value_of
from hedgefund_core.trading.order import Order, OrderStatus
from live_executor.live.heartbeat import Heartbeat
from live_executor.queries import shapes as s
from live_executor.queries.story import CashLine, Story


def status(story: Story, *, running: bool, beat: Heartbeat | None = None) -> s.Status:
    """What is, by the journal, and by the running executor's heartbeat where it trades on the wall clock.

    Ages count in the account's own time, which a replay simulates.
    """
    state, opened = story.state, story.opened
    days, value = days_of(story), equity_of(story)
    return s.Status(
        account=state.account,
        state=state.ladder.name,
        cause=state.ladder.cause,
        mode=state.mode,
        broker="" if opened is None else opened.broker,
        running=running,
        session=state.session,
        equity=value,
        cash=state.ledger.cash,
        day_pnl=days[-1].day_pnl if days else ZERO,
        drawdown=max(0.0, float(1 - value / state.high_water_mark)) if state.high_water_mark > ZERO else 0.0,
        model=_model(story),
        feed=_feed(story, running=running, beat=beat),
        orders_open=len(state.working),
        unknown_orders=sum(order.status is OrderStatus.UNKNOWN for order in state.orders.values()),
        frozen={story.symbol(key): cause for key, cause in state.frozen.items()},
        stand_ins=state.stand_ins,
        journal=s.JournalState(seq=story.head.seq, head=story.head.hash.hex()),
        reconciled_at=None if story.reconciled is None else story.reconciled.ts,
        reconciled_ok=None if story.reconciled is None else story.reconciled.ok,
        gates=tuple(sorted(state.gates)),
        market_open=None if beat is None else beat.market_open,
        order_stream=None if beat is None else beat.order_stream.connected,
        clock_offset_seconds=None if beat is None else beat.clock_offset_seconds,
        targets_trouble="" if beat is None else beat.targets_trouble,
        residues={story.symbol(key): quantity for key, quantity in residues(state).items()},
    )


class Day(NamedTuple):
    """A session's end as the books have it; on the wall clock also the one under way, as of now."""

    session: str
    cash: Decimal
    equity: Decimal
    day_pnl: Decimal


def equity_of(story: Story) -> Decimal:
    """Cash and what is held at the last good prices: what the positions that are shown add up to."""
    prices, ledger = prices_of(story.state), story.state.ledger
    if any(held.quantity and key not in prices for key, held in ledger.positions.items()):
        return story.state.equity
    return value_of(ledger, prices)


def days_of(story: Story) -> list[Day]:
    """The marks of the sessions; on the wall clock what has come since the last one, net of deposits, belongs to the session now."""
    days = [Day(mark.session, mark.cash, mark.equity, mark.day_pnl) for mark in story.marks]
    state = story.state
    if state.is_replayed or not state.session:
        return days
    value = equity_of(story)
    since = value - with_flow(state).marked_equity
    earlier = days.pop().day_pnl if days and days[-1].session == state.session else ZERO
    return [*days, Day(state.session, state.ledger.cash, value, earlier + since)]


def _feed(story: Story, *, running: bool, beat: Heartbeat | None) -> s.FeedState:
    if not story.state.is_replayed:
        connected = running and beat is not None and beat.data_stream.connected
        return s.FeedState(connected=connected, age_seconds=None if beat is None else beat.price_age_seconds)
    mark = story.marks[-1] if story.marks else None
    return s.FeedState(connected=running, age_seconds=None if mark is None else (story.ts - mark.ts).total_seconds())


def _model(story: Story) -> s.ModelInUse | None:
    if not story.models:
        return None
    used = story.models[-1]
    trained = datetime.combine(date.fromisoformat(used.trained_through), datetime.min.time(), story.ts.tzinfo)
    return s.ModelInUse(name=used.name, version=used.version, alias=used.alias, age_seconds=(story.ts - trained).total_seconds())


def positions(story: Story) -> list[s.PositionRow]:
    """What is held, by symbol."""
    prices, equity = prices_of(story.state), equity_of(story)
    rows = []
    for key, held in story.state.ledger.positions.items():
        if held.quantity == ZERO:
            continue
        price = prices.get(key)
        value = None if price is None else to_money(held.quantity * price)
        gain = None if price is None else to_money((price - held.average_price) * held.quantity)
        weight = None if value is None or equity <= ZERO else float(value / equity)
        rows.append(
            s.PositionRow(
                symbol=story.symbol(key),
                quantity=held.quantity,
                average_price=held.average_price,
                last_price=price,
                market_value=value,
                unrealized_pnl=gain,
                weight=weight,
            )
        )
    return sorted(rows, key=lambda row: row.symbol)


def order_row(order: Order) -> s.OrderRow:
    """An order as shown."""
    average = order.average_fill_price
    return s.OrderRow(
        client_order_id=order.client_order_id,
        broker_order_id=order.broker_order_id,
        symbol=order.symbol,
        side=order.side.value,
        quantity=order.quantity,
        type=order.order_type.value,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force.value,
        status=order.status.value,
        filled_quantity=order.filled_quantity,
        average_fill_price=None if average is None else to_money(average),
        decision_id=order.decision_id,
        submitted_at=order.submitted_at,
        updated_at=order.updated_at,
        denied_by=order.denied_by,
        reason=order.reason,
        session=order.session,
        leg=order.leg.value,
    )


def orders(story: Story) -> list[s.OrderRow]:
    """Every order that ever was, oldest first."""
    return [order_row(order) for order in story.orders.values()]


def fills(story: Story) -> list[s.FillRow]:
    """Every fill, oldest first, others' on this account included."""
    own = [
        s.FillRow(
            fill_id=event.fill_id,
            client_order_id=event.client_order_id,
            symbol=order.symbol,
            side=order.side.value,
            quantity=event.quantity,
            price=event.price,
            commission=event.commission,
            ts=event.ts,
            session=event.session,
        )
        for order, event in story.fills
    ]
    others = [
        s.FillRow(
            fill_id=event.fill_id,
            client_order_id="",
            symbol=story.symbol(event.instrument_id),
            side=event.side.value,
            quantity=event.quantity,
            price=event.price,
            commission=event.commission,
            ts=event.ts,
            session=event.session,
            external=True,
        )
        for event in story.external
    ]
    return sorted((*own, *others), key=lambda row: row.ts) if others else own


# ---- performance -----------------------------------------------------------------------------------------------------


def time_weighted(days: Sequence[Day]) -> float:
    """Return compounded over days, each net of deposits: flows earn nothing by arriving."""
    growth = 1.0
    for day in days:
        basis = day.equity - day.day_pnl
        growth *= float(day.equity / basis) if basis > ZERO else 1.0
    return growth - 1.0


def pnl(story: Story) -> s.Pnl:
    """Profit of the day, the month and since the beginning."""
    days, totals = days_of(story), story.state.ledger.totals
    session = days[-1].session if days else story.state.session
    commission, borrow = -totals.get("commission", ZERO), -totals.get("borrow", ZERO)
    total = sum((day.day_pnl for day in days), ZERO)
    return s.Pnl(
        session=session,
        day=days[-1].day_pnl if days else ZERO,
        month=sum((day.day_pnl for day in days if day.session[:7] == session[:7]), ZERO),
        total=total,
        gross_of_costs=total + commission + borrow,
        commission=commission,
        borrow=borrow,
        dividends=totals.get("dividend", ZERO),
        time_weighted_return=time_weighted(days),
        by_instrument=_by_instrument(story),
    )


def _by_instrument(story: Story) -> tuple[s.InstrumentPnl, ...]:
    prices, commissions = prices_of(story.state), dict[str, Decimal]()
    for order, event in story.fills:
        commissions[order.instrument_id] = commissions.get(order.instrument_id, ZERO) + event.commission
    rows = []
    for key in sorted(set(commissions) | set(story.state.ledger.positions)):
        held = story.state.ledger.positions.get(key)
        realized = _realized(story, key)
        price = prices.get(key)
        open_gain = ZERO if held is None or price is None else to_money((price - held.average_price) * held.quantity)
        paid = commissions.get(key, ZERO)
        rows.append(
            s.InstrumentPnl(
                symbol=story.symbol(key), realized=realized, unrealized=open_gain, commission=paid, total=realized + open_gain - paid
            )
        )
    return tuple(rows)


def _realized(story: Story, instrument_id: str) -> Decimal:
    held = story.state.ledger.positions.get(instrument_id)
    return ZERO if held is None else held.realized_pnl


# ---- statement -------------------------------------------------------------------------------------------------------


def statement(story: Story, month: str) -> s.Statement:
    """Cash lines and performance of a month (``YYYY-MM``), or of the whole life where it is empty."""
    before = [line for line in story.cash if month and line.session[:7] < month]
    lines = [line for line in story.cash if not month or line.session[:7] == month]
    days = days_of(story)
    chosen = [position for position, day in enumerate(days) if not month or day.session[:7] == month]
    inside = [days[position] for position in chosen]
    opening = sum((line.amount for line in before), ZERO)
    closing = opening + sum((line.amount for line in lines), ZERO)
    stated = inside[-1].cash if inside else opening
    earlier = days[chosen[0] - 1].equity if chosen and chosen[0] > 0 else ZERO
    flow = sum((line.amount for line in lines if line.kind in {"deposit", "withdrawal"}), ZERO)
    return s.Statement(
        account=story.state.account,
        period=month or "since the beginning",
        first_session=inside[0].session if inside else "",
        last_session=inside[-1].session if inside else "",
        opening_cash=opening,
        closing_cash=closing,
        lines=_by_kind(lines),
        opening_equity=earlier,
        closing_equity=inside[-1].equity if inside else earlier,
        external_flow=flow,
        time_weighted_return=time_weighted(inside),
        cash_ties_out=closing == stated,
        reconciled=story.reconciled is not None and story.reconciled.ok,
        reconciled_at=None if story.reconciled is None else story.reconciled.ts,
    )


def _by_kind(lines: Sequence[CashLine]) -> tuple[s.StatementLine, ...]:
    kinds = dict.fromkeys(line.kind for line in lines)
    return tuple(
        s.StatementLine(
            kind=kind,
            lines=sum(line.kind == kind for line in lines),
            amount=sum((line.amount for line in lines if line.kind == kind), ZERO),
        )
        for kind in kinds
    )
