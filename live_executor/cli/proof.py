"""Proofs: reconcile with the broker, replay the journal, audit its chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.person import new_request, who, why
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from hedgefund_core.trading.events import Frame
    from live_executor.cli.reading import Reading
    from live_executor.queries.books import Reconciliation
    from live_executor.queries.verify import Replay

RISK, FAILURE = 5, 1
_PATIENCE_SECONDS = 15.0


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (reconcile, replay, parity):
        app.command()(command)
    audit = typer.Typer(help="The journal's hash chain and its signed heads.", no_args_is_help=True, rich_markup_mode=None)
    audit.command("verify")(audit_verify)
    app.add_typer(audit, name="audit")


def reconcile(
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over the broker's positions and cash as they are.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why they differ; journaled with your name.")] = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """The ledger against the broker's own book; exit 5 on an unexplained difference."""
    from live_executor.cli.reading import open_reading

    reading = open_reading(account)
    if adopt:
        _adopt(reading, reason)
    found = _reconciled(reading)
    if as_json:
        show.as_json(found)
    else:
        show.table(found.differences, ("kind", "symbol", "ours", "broker"), empty="journal and broker agree")
        for words in found.explained:
            show.line(f"explained: {words}")
        if not found.ok:
            show.line("mend: executor explain ORDER_ID shows ours; resume only once the difference is explained")
    raise typer.Exit(0 if found.ok else RISK)


def _reconciled(reading: Reading) -> Reconciliation:
    story = reading.story()
    if story.state.is_replayed:
        from live_executor.queries.books import reconcile as view

        return view(story, reading.settings.data)
    from live_executor.queries.outside import reconcile_live

    return reconcile_live(story, reading.reader.read(), reading.settings)


def _adopt(reading: Reading, reason: str) -> None:
    """By a person with a reason, through the running executor; nothing is traded."""
    from live_executor.asking import Asking
    from live_executor.commands import Adopt

    command = Adopt(request_id=new_request(), reason=why(reason), person=who())
    Asking(reading.settings.data, reading.account, reading.bundles).adopt(command, _PATIENCE_SECONDS)


def replay(
    verify: Annotated[bool, typer.Option("--verify", help="Compare every output byte for byte.")] = False,
    session: Annotated[str, typer.Option("--session", metavar="DATE", help="Compare this session only.")] = "",
    output: Annotated[Path | None, typer.Option("--output", help="Write the regenerated journal here, a frame a line.")] = None,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Decide everything again from the journaled inputs; exit 0 only if every decision and order is identical."""
    from live_executor.cli.reading import open_reading, require_session

    if not verify and output is None:
        raise typer.BadParameter("say what for: --verify compares, --output FILE writes what comes out", param_hint="--verify")
    found = _replayed(open_reading(account), require_session(session), output)
    if as_json:
        show.as_json(found)
    else:
        _print_replay(found)
    raise typer.Exit(0 if found.ok or not verify else FAILURE)


def _replayed(reading: Reading, session: str, output: Path | None) -> Replay:
    from hedgefund_core.trading.events import SessionBegan, encode
    from live_executor.queries.suspects import suspect_reader
    from live_executor.queries.verify import verify_replay

    if session and not any(
        isinstance(entry.frame, SessionBegan) and entry.frame.session == session for entry in reading.reader.read(kinds=("session_began",))
    ):
        raise typer.BadParameter(f"account {reading.account} traded no session {session}", param_hint="--session")  # nothing is no proof
    bundles = suspect_reader(reading.settings, reading.account)
    if output is None:
        return verify_replay(reading.reader.read(), bundles, session=session)
    with output.open("wb") as file:

        def keep(frame: Frame) -> None:
            file.write(encode(frame) + b"\n")

        return verify_replay(reading.reader.read(), bundles, session=session, keep=keep)


def parity(
    session: Annotated[str, typer.Option("--session", metavar="DATE", help="This session only.")] = "",
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """What was traded against the backtest of the same sessions: every difference by its cause. Exit 0 either way: it is a report."""
    from live_executor.cli.reading import open_reading, require_session
    from live_executor.queries.parity import compare, lines

    reading = open_reading(account)
    found = compare(reading.reader, reading.settings, reading.account, require_session(session))
    if as_json:
        show.as_json(found)
        return
    for line in lines(found):
        show.line(line)
    show.table(found.findings[:40], ("session", "kind", "cause", "what", "live", "backtest"), empty="nothing differs")
    show.table(found.slippage, ("order_type", "orders", "fills", "live_bps", "simulated_bps"), empty="nothing was ordered")


def _print_replay(found: Replay) -> None:
    words = "identical" if found.ok else "NOT identical"
    show.line(f"{words}: {found.decisions} decisions, {found.orders} orders, {found.frames} outputs from {found.entries} entries")
    if found.regenerated:
        show.line(f"{found.regenerated} outputs that the journal lacks were made again")
    if found.first_difference is not None:
        first = found.first_difference
        names = ("decision_id", "session", "seq", "kind", "what")
        show.facts([(name, getattr(first, name)) for name in names], title=f"first of {found.differing} differences")
        show.line("mend: executor audit verify says whether the journal was changed; compare it and live/<account>/bundles with a backup")


def audit_verify(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Walk the hash chain, check the signed heads and the recorded segments; name the first broken entry."""
    from live_executor.cli.reading import open_reading
    from live_executor.queries.recordings import with_segments

    reading = open_reading(account)
    chain = reading.reader.verify(reading.settings.keys)
    found = with_segments(chain, reading.reader.read(kinds=("segment_recorded",)), reading.folder)
    if as_json:
        show.as_json(found)
    elif found.ok:
        show.line(f"unbroken: {found.entries} entries, signed through {found.signed_through}, outside the data folder {found.outside_head}")
        if found.other_journals:
            show.line(f"note: this account once had another journal ({', '.join(found.other_journals)}): was it opened anew on purpose?")
    else:
        show.line(f"BROKEN at entry {found.first_broken}: {found.reason}")
        show.line("mend: stop trading this account and restore the journal from a backup; executor reconcile shows what the broker has")
    raise typer.Exit(0 if found.ok else FAILURE)
