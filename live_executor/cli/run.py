"""``executor run``: trade."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedgefund_core.account import State
    from live_executor.app import RunRequest
    from live_executor.desk import Summary
    from live_executor.settings import Settings

_MODES = ("replay",)


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(run)


def run(
    mode: Annotated[str, typer.Option("--mode", help="replay: past sessions on simulated time.")] = "replay",
    broker: Annotated[str, typer.Option("--broker", help="simulated | simulated_process; default: config/trading.yaml.")] = "",
    feed: Annotated[str, typer.Option("--feed", help="replay; default: config/trading.yaml.")] = "",
    account: AccountOption = "",
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First session of a new account.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Last session; default: the last there is.")] = "",
    speed: Annotated[float, typer.Option("--speed", min=0.0, help="Sessions a second; 0 = as fast as possible.")] = 0.0,
    max_sessions: Annotated[int, typer.Option("--max-sessions", min=0, help="Stop after so many; 0 = no such limit.")] = 0,
    source: Annotated[str, typer.Option("--source", help="Data source of a new account; default: config/universe.yaml.")] = "",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="A promoted bundle's folder instead of the registry's alias.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more to the terminal.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Trade the promoted model to the end of the data; Ctrl-C stops after the step at hand, and the next run goes on from there."""
    from live_executor.app import RunRequest
    from live_executor.cli.desk import account_of, require_session
    from live_executor.settings import read_settings

    _require_replay(mode, broker, feed)
    settings = read_settings()
    request = RunRequest(
        account=account_of(settings, account) if account else settings.trading.account,
        source=source,
        broker=broker,
        feed=feed,
        first=require_session(first),
        last=require_session(last),
        max_sessions=max_sessions,
        seconds_per_session=1.0 / speed if speed else 0.0,
        bundle=bundle,
        verbose=verbose,
    )
    summary = _with_progress(settings, request)
    _print(summary, as_json=as_json)
    raise typer.Exit(summary.exit_code)


def _require_replay(mode: str, broker: str, feed: str) -> None:
    """What this version trades on; anything else is said, and not half done."""
    from hedgefund_core.errors import ConfigError
    from live_executor.brokers import BROKERS
    from live_executor.feeds import FEEDS

    for option, given, known in (("--mode", mode, _MODES), ("--broker", broker, tuple(BROKERS)), ("--feed", feed, tuple(FEEDS))):
        if given and given not in known:
            raise ConfigError(
                f"{option} {given}: this version trades replayed sessions on the simulated broker only", mend=f"{option} {known[0]}"
            )


def _with_progress(settings: Settings, request: RunRequest) -> Summary:
    """Run, with a line that moves where somebody watches."""
    from live_executor.app import run as trade

    if not sys.stderr.isatty():
        return trade(settings, request)
    from rich.console import Console

    with Console(stderr=True).status("opening the account") as line:
        return trade(settings, request, _teller(line.update))


def _teller(update: Callable[[str], None]) -> Callable[[State], None]:
    def tell(state: State) -> None:
        update(f"{state.session}  equity {state.equity:,.0f}  drawdown {state.drawdown:.1%}  {state.ladder.name}")

    return tell


def _print(summary: Summary, *, as_json: bool) -> None:
    state = summary.state
    facts: dict[str, object] = {
        "account": state.account,
        "session": state.session,
        "state": state.ladder.name,
        "equity": state.equity,
        "sessions": summary.sessions,
        "orders": summary.orders,
        "denied": summary.denied,
        "fills": summary.fills,
        "ended": summary.ended,
    }
    if as_json:
        show.as_json(facts)
    else:
        show.facts(list(facts.items()))
