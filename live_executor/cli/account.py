"""What is: status, positions, orders, fills, pnl, statement, risk, signals, models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from live_executor.queries.shapes import Status

R = TypeVar("R")
_SCREEN = 40
"""Rows of a table that are shown where nobody asks for more."""


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (status, positions, orders, fills, pnl, statement, risk, signals, models):
        app.command()(command)


def status(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """State, equity, drawdown, model, journal."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.account import status as view

    reading = open_reading(account)
    running = reading.running
    found = view(reading.story(), running=running, beat=reading.beat if running else None)
    if as_json:
        show.as_json(found)
        return
    model = found.model
    rows: list[tuple[str, object]] = [
        ("state", found.state + (f": {found.cause}" if found.cause and found.state != "active" else "")),
        ("mode", f"{found.mode}, broker {found.broker}, {'an executor is running' if found.running else 'no executor is running'}"),
        ("session", found.session),
        ("equity", found.equity),
        ("cash", found.cash),
        ("day's profit", found.day_pnl),
        ("drawdown", f"{found.drawdown:.2%} below the high-water mark"),
        ("model", "none" if model is None else f"{model.name} {model.version} ({model.alias}), {model.age_seconds // 86400:.0f} days old"),
        *_outside(found),
        ("orders open", f"{found.orders_open}, {found.unknown_orders} of unknown outcome"),
        ("frozen", "; ".join(f"{symbol}: {cause}" for symbol, cause in found.frozen.items())),
        *([("cannot be closed", _residues(found))] if found.residues else []),
        ("journal", f"{found.journal.seq} entries, head {found.journal.head[:16]}"),
        ("reconciled", None if found.reconciled_at is None else found.reconciled_at.isoformat()),
    ]
    show.facts(rows, title=f"Account {found.account}")


def _residues(found: Status) -> str:
    held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in found.residues.items())
    return f"{held}: the broker trades whole shares only"


def _outside(found: Status) -> list[tuple[str, object]]:
    """How an account on the wall clock stands with broker and market."""
    if found.market_open is None:
        return []
    age = "no price yet" if found.feed.age_seconds is None else f"prices {found.feed.age_seconds:.0f} s old"
    streams = f"orders {'up' if found.order_stream else 'DOWN'}, prices {'up' if found.feed.connected else 'DOWN'} ({age})"
    held = "; ".join(found.gates) or "no"
    trouble = [("targets", found.targets_trouble)] if found.targets_trouble else []
    return [("market", "open" if found.market_open else "closed"), ("streams", streams), ("entries held back", held), *trouble]


def positions(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """What is held."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.account import positions as view

    columns = ("symbol", "quantity", "average_price", "last_price", "market_value", "unrealized_pnl", "weight")
    show.rows(view(open_reading(account).story()), columns, empty="no position is held", json=as_json)


def orders(
    account: AccountOption = "",
    as_json: JsonOption = False,
    symbol: Annotated[str, typer.Option("--symbol", help="Only this symbol.")] = "",
    status: Annotated[str, typer.Option("--status", help="Only this status, for example denied.")] = "",
    last: Annotated[int, typer.Option("--last", min=0, help="Only the newest so many; 0 = all (table: 40).")] = 0,
) -> None:
    """Orders, allowed and denied, with all that happened to them."""
    from hedgefund_core.trading.order import OrderStatus
    from live_executor.cli.reading import column_of, open_reading
    from live_executor.queries.account import orders as view

    story = open_reading(account).story()
    if symbol:
        column_of(story, symbol)
    if status and status not in set(OrderStatus):
        raise typer.BadParameter(f"unknown status {status!r}; there are {', '.join(OrderStatus)}", param_hint="--status")
    rows = [row for row in view(story) if symbol in {"", row.symbol} and status in {"", row.status}]
    columns = (
        "client_order_id", "session", "symbol", "side", "quantity", "filled_quantity", "average_fill_price", "status", "denied_by",
    )  # fmt: skip
    show.rows(_newest(rows, last, as_json=as_json), columns, empty="no order yet", json=as_json)


def fills(
    account: AccountOption = "",
    as_json: JsonOption = False,
    symbol: Annotated[str, typer.Option("--symbol", help="Only this symbol.")] = "",
    last: Annotated[int, typer.Option("--last", min=0, help="Only the newest so many; 0 = all (table: 40).")] = 0,
) -> None:
    """Fills."""
    from live_executor.cli.reading import column_of, open_reading
    from live_executor.queries.account import fills as view

    story = open_reading(account).story()
    if symbol:
        column_of(story, symbol)
    rows = [row for row in view(story) if symbol in {"", row.symbol}]
    columns = ("session", "symbol", "side", "quantity", "price", "commission", "client_order_id")
    show.rows(_newest(rows, last, as_json=as_json), columns, empty="no fill yet", json=as_json)


def _newest(rows: Sequence[R], last: int, *, as_json: bool) -> Sequence[R]:
    """The newest rows: so many as were asked for, else all of them, or what fits on a screen."""
    return rows[-(last or (len(rows) if as_json else _SCREEN)) :]


def pnl(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Profit of the day, the month and in total, and by instrument."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.account import pnl as view

    found = view(open_reading(account).story())
    if as_json:
        show.as_json(found)
        return
    names = ("day", "month", "total", "gross_of_costs", "commission", "borrow", "dividends")
    rows: list[tuple[str, object]] = [(name.replace("_", " "), getattr(found, name)) for name in names]
    show.facts([*rows, ("time-weighted return", f"{found.time_weighted_return:.2%}")], title=f"Profit and loss at {found.session}")
    show.table(found.by_instrument, ("symbol", "realized", "unrealized", "commission", "total"), empty="nothing was traded")


def statement(
    month: Annotated[str, typer.Option("--month", help="YYYY-MM; default: since the beginning.")] = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Cash ledger and flow-adjusted performance; every line adds up and is reconciled."""
    from live_executor.cli.reading import open_reading, require_session
    from live_executor.queries.account import statement as view

    if month:
        require_session(f"{month}-01", "--month (the first of it)")
    found = view(open_reading(account).story(), month)
    if as_json:
        show.as_json(found)
        return
    show.table(found.lines, ("kind", "lines", "amount"), title=f"Cash of account {found.account}, {found.period}", empty="no cash line")
    names = ("opening_cash", "closing_cash", "opening_equity", "closing_equity", "external_flow", "cash_ties_out", "reconciled")
    rows: list[tuple[str, object]] = [(name.replace("_", " "), getattr(found, name)) for name in names]
    show.facts([*rows, ("time-weighted return", f"{found.time_weighted_return:.2%}")])


def risk(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Each limit: measured, warn, limit; and the rules that cannot be judged."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.risk import risk as view

    columns = ("rule", "measured", "warn", "limit", "unit", "status", "reason")
    show.rows(view(open_reading(account).story()), columns, empty="the journal holds no limits yet", json=as_json)


def signals(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Scores, ranks and weights of the newest decision."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.models import signals as view

    columns = ("rank", "symbol", "score", "target_weight", "weight")
    show.rows(view(open_reading(account).story()), columns, empty="no decision was made yet", json=as_json)


def models(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Models the account used: age, expiry, gate verdict."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.models import models as view

    reading = open_reading(account)
    columns = ("name", "version", "alias", "trained_through", "expires_on", "age_days", "expired", "gate", "in_use", "note")
    show.rows(view(reading.story(), reading.bundles), columns, empty="no model was loaded yet", json=as_json)
