"""Why: explain an order or a bar, plan the next decision, open a past one again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from live_executor.cli.reading import Reading
    from live_executor.queries.lineage import Explanation


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (explain, plan, decision):
        app.command()(command)


def explain(
    order_id: Annotated[str, typer.Argument(help="Client or broker order id, or its beginning.")] = "",
    bar: Annotated[str, typer.Option("--bar", metavar="SYMBOL@SESSION", help="The other way: what used a bar.")] = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Order → verdicts → decision → features → bars → source file → model → MLflow run → Dagster run."""
    from live_executor.cli.reading import open_reading

    if bool(order_id) == bool(bar):
        raise typer.BadParameter("give either an ORDER_ID or --bar SYMBOL@SESSION", param_hint="ORDER_ID")
    reading = open_reading(account)
    if bar:
        _explain_bar(reading, bar, as_json=as_json)
        return
    found = _explanation(reading, order_id)
    if as_json:
        show.as_json(found)
    else:
        _print_explanation(found)


def _explanation(reading: Reading, order_id: str) -> Explanation:
    import msgspec

    from live_executor.cli.reading import order_named
    from live_executor.queries.decisions import reopen
    from live_executor.queries.lineage import explain as view
    from live_executor.queries.origins import KINDS, origin_of

    after = reading.story()
    key = order_named(after, order_id)
    recorded = next((found for found in after.decisions if found.made.decision_id == after.orders[key].decision_id), None)
    before = after if recorded is None else reading.story(until_seq=recorded.due_seq)
    opened = None if recorded is None else reopen(before, recorded, after)
    found = view(after, before, recorded, None if opened is None else opened.inputs, order_id=key, data=reading.settings.data)
    origin = origin_of(after, reading.reader.read(kinds=KINDS), recorded, key)
    return msgspec.structs.replace(found, origin=origin)


def _print_explanation(found: Explanation) -> None:
    order, decision, model = found.order, found.decision, found.model
    what = f"{order.side} {order.quantity} {order.symbol}, limit {order.limit_price}, {order.time_in_force} of {order.session}"
    show.facts(
        [("order", what), ("status", order.status), ("denied by", order.denied_by), ("reason", order.reason)], title=order.client_order_id
    )
    show.table(found.fills, ("fill_id", "quantity", "price", "commission", "ts"), title="fills", empty="no fill")
    show.table(found.verdicts, ("rule", "verdict", "measured", "limit", "unit", "reason"), title="verdicts", empty="no verdict on record")
    if found.origin is not None:
        fields = ("by", "person", "reason", "file", "line", "text", "sha256", "note")
        show.facts([(name, value) for name in fields if (value := getattr(found.origin, name))], title="asked for")
    if decision is not None:
        rows: list[tuple[str, object]] = [
            ("id", decision.decision_id),
            ("decided at", decision.decided_at.isoformat()),
            ("score", decision.score),
            ("rank", f"{decision.rank} of {decision.scored}"),
            ("target weight", decision.target_weight),
            *((f"scaler {scaler.name}", scaler.scale) for scaler in decision.scalers),
        ]
        show.facts(rows, title="decision")
    show.table(found.features, ("name", "value", "params", "warm_up"), title="features at the decision", empty="no features")
    columns = ("session", "open", "high", "low", "close", "volume", "raw_file", "raw_row")
    show.table(found.bars, columns, title=f"bars: {found.bars_used} since {found.first_bar}, the newest", empty="no bars")
    show.table(
        found.panel.raw_files, ("origin", "sha256", "retrieved_at", "file"), title=f"source {found.source}", empty="no source file known"
    )
    names = ("name", "version", "digest", "trained_through", "gate", "mlflow_run_id", "dagster_run_id")
    show.facts([(name, getattr(model, name)) for name in names] if model else [("model", "none")], title="model")
    if found.panel.note:
        show.line(f"note: {found.panel.note}")


def _explain_bar(reading: Reading, bar: str, *, as_json: bool) -> None:
    from live_executor.cli.reading import column_of, require_session
    from live_executor.queries.lineage import explain_bar, find_bar

    symbol, at, session = bar.partition("@")
    if not at:
        raise typer.BadParameter(f"{bar!r} names no session: write AAPL@2015-06-30", param_hint="--bar")
    require_session(session, "--bar")
    story = reading.story()
    column = column_of(story, symbol)
    found = find_bar(reading.reader.read(kinds=("bars_closed", "history_loaded")), session, column)
    if found is None:
        raise typer.BadParameter(f"the journal has no bar of session {session}", param_hint="--bar")
    view = explain_bar(story, found, column, reading.settings.data)
    if as_json:
        show.as_json(view)
        return
    names = ("open", "high", "low", "close", "volume", "data_version", "raw_file", "raw_row")
    show.facts([(name, getattr(view.bar, name)) for name in names], title=f"{symbol} at {session}, entry {view.seq}")
    show.table(view.panel.raw_files, ("origin", "sha256", "retrieved_at"), title=f"source {view.source}", empty="no source file known")
    columns = ("decision_id", "sessions_later", "score", "orders")
    show.table(view.decisions, columns, title="used by", empty="no decision had it in its window")


def plan(
    diff: Annotated[bool, typer.Option("--diff", help="Show each weight now, its target, and after.")] = False,
    targets: Annotated[Path | None, typer.Option("--targets", metavar="FILE", help="Plan for this file, not the followed one.")] = None,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """What the next decision would do: orders, cost, risk before and after. Trades nothing."""
    from live_executor.cli.reading import open_reading

    reading = open_reading(account)
    story = reading.story()
    if story.state.is_replayed or (targets is None and story.state.bundle is not None):  # a model decides on the lake's bars
        from live_executor.queries.plan import plan as view

        found = view(story)
    else:
        from live_executor.queries.outside import plan_live

        found = plan_live(story, reading.reader.read(), reading.settings, targets)
    if as_json:
        show.as_json(found)
        return
    columns = ("symbol", "side", "quantity", "leg", "reference_price", "value", "cost", "verdict", "reason")
    show.table(found.orders, columns, title=f"next decision ({found.purpose}) after {found.session}", empty="it would trade nothing")
    show.table(found.exposures, ("measure", "before", "after", "limit"), empty="no limits are known yet")
    if diff:
        show.table(found.changes, ("symbol", "weight", "target", "after"), empty="no weight would change")
    show.facts([("turnover", found.turnover), ("cost", found.cost), ("borrow a year", found.borrow_per_year), ("note", found.note)])
    if found.assumed_filled:
        show.line(f"{found.assumed_filled} orders now at the broker are taken as filled at the last price")


def decision(
    decision_id: Annotated[str, typer.Argument(help="Decision id, its beginning, or `last`.")],
    edit: Annotated[list[str] | None, typer.Option("--edit", metavar="FIELD=VALUE", help="Change an input first; may be repeated.")] = None,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open a past decision and decide again on its inputs, edited or not; show the difference."""
    from live_executor.cli.reading import decision_named, open_reading
    from live_executor.queries.decisions import UnknownField, again, reopen

    reading = open_reading(account)
    after = reading.story()
    recorded = decision_named(after, decision_id)
    opened = reopen(reading.story(until_seq=recorded.due_seq), recorded, after)
    if opened is None:
        raise typer.BadParameter(
            "it came from a person's order, a fill or a halt: executor explain ORDER_ID shows it, replay --verify decides it again",
            param_hint="ID",
        )
    try:
        found = again(opened, edit or [])
    except UnknownField as error:
        raise typer.BadParameter(str(error), param_hint="--edit") from error
    if as_json:
        show.as_json(found)
        return
    words = "identical to the record" if found.identical else "differs from the record"
    show.facts(
        [("session", found.session), ("model", found.model), ("edits", ", ".join(found.edits)), ("result", words)], title=found.decision_id
    )
    show.table(found.scalers, ("name", "measured", "limit", "recorded", "now"), title="scalers", empty="no scaler")
    show.table(found.weights, ("symbol", "recorded", "now"), title="target weights", empty="no weight")
    columns = ("symbol", "leg", "recorded", "recorded_verdict", "now", "now_verdict")
    show.table(found.orders, columns, title="orders", empty="no order")
