"""A person's hand on the market: order and cancel, through the running executor and the same rules as everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.person import PersonOption, ReasonOption, new_request, who
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from decimal import Decimal

    from live_executor.asking import Asking, Fate

_PATIENCE_SECONDS = 10.0
WaitOption = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to follow it.")]
RequestOption = Annotated[str, typer.Option("--request-id", help="Asking twice under one id is asking once.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (order, cancel):
        app.command()(command)


def order(
    symbol: Annotated[str, typer.Argument(help="What, for example AAPL.")],
    side: Annotated[str, typer.Argument(help="BUY or SELL.")],
    quantity: Annotated[str, typer.Argument(help="Shares, above zero.")],
    order_type: Annotated[str, typer.Option("--type", help="market | limit; a limit price alone means limit.")] = "",
    limit: Annotated[str, typer.Option("--limit", metavar="PRICE", help="Limit price.")] = "",
    tif: Annotated[str, typer.Option("--tif", help="day | opg | cls; default: day, or opg while the market is closed.")] = "",
    reason: ReasonOption = "",
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    request_id: RequestOption = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Order through the running executor, by the same risk rules.

    Exit 2: the request id was used for something else; 5: denied by a rule; 6: refused or ended unfilled by the broker; 7: nobody runs.
    """
    from hedgefund_core.trading.order import OrderType, Side, TimeInForce
    from live_executor.commands import Place

    _require(side.lower(), ("buy", "sell"), "SIDE")
    _require(order_type, ("", "market", "limit"), "--type")
    _require(tif, ("", "day", "opg", "cls"), "--tif")
    kind = order_type or ("limit" if limit else "market")
    if (kind == "limit") != bool(limit):
        raise typer.BadParameter("a limit order needs --limit, and a market order has none", param_hint="--limit")
    command = Place(
        request_id=request_id or new_request(),
        symbol=_symbol(symbol),
        side=Side(side.lower()),
        quantity=_positive(quantity, "QUANTITY"),
        order_type=OrderType(kind),
        limit_price=_positive(limit, "--limit") if limit else None,
        time_in_force=TimeInForce(tif) if tif else None,
        reason=reason,
        person=who(person),
    )
    _show(_asking(account).place(command, wait), as_json=as_json)


def cancel(
    order_id: Annotated[str, typer.Argument(help="Client or broker order id, its beginning, or all.")],
    reason: ReasonOption = "",
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    request_id: RequestOption = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Cancel one order, or all that work, and wait until the broker confirms it. Exit 6 where it has not."""
    from live_executor.cli.reading import open_reading, order_named
    from live_executor.commands import Cancel

    asking = _asking(account)
    name = "" if order_id.lower() == "all" else order_named(open_reading(account).story(), order_id)
    command = Cancel(request_id=request_id or new_request(), client_order_id=name, reason=reason, person=who(person))
    _show(asking.cancel(command, wait), as_json=as_json)


def _asking(account: str) -> Asking:
    from live_executor.app import bundles_of
    from live_executor.asking import Asking
    from live_executor.cli.reading import account_of
    from live_executor.settings import read_settings

    settings = read_settings()
    name = account_of(settings, account)
    return Asking(settings.data, name, bundles_of(settings, name))


def _show(fate: Fate, *, as_json: bool) -> None:
    if as_json:
        show.as_json(fate)
    else:
        columns = (
            "client_order_id",
            "symbol",
            "side",
            "quantity",
            "filled_quantity",
            "average_fill_price",
            "status",
            "denied_by",
            "reason",
        )
        if fate.orders:
            show.table(fate.orders, columns)
        show.line(f"{fate.status}{f': {fate.reason}' if fate.reason else ''} (request {fate.request_id})")
    raise typer.Exit(fate.exit_code)


def _symbol(text: str) -> str:
    from hedgefund_core.identifiers import is_symbol

    text = text.upper()
    if not is_symbol(text):
        raise typer.BadParameter(f"{text!r} is not a symbol (upper case letters, digits and . - / ^ _)", param_hint="SYMBOL")
    return text


def _positive(text: str, hint: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    from hedgefund_core.trading.instrument import is_amount

    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no number", param_hint=hint) from None
    if not is_amount(value):
        raise typer.BadParameter(f"{text!r} is not above zero, or nothing that can be traded", param_hint=hint)
    return value


def _require(given: str, known: tuple[str, ...], hint: str) -> None:
    if given not in known:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(filter(None, known))}", param_hint=hint)
