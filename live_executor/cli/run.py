"""``executor run``: trade."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedgefund_core.account import State
    from live_executor.app import RunRequest
    from live_executor.app_live import LiveRequest
    from live_executor.desk import Summary
    from live_executor.live.heartbeat import Heartbeat
    from live_executor.settings import Settings

_MODES = ("replay", "paper", "live")


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(run)


def run(
    mode: Annotated[str, typer.Option("--mode", help="replay | paper | live; default: replay, with --targets paper.")] = "",
    broker: Annotated[str, typer.Option("--broker", help="simulated | simulated_process | alpaca; default: by the mode.")] = "",
    feed: Annotated[str, typer.Option("--feed", help="replay | simulated | alpaca; default: by the mode and the broker.")] = "",
    account: AccountOption = "",
    targets: Annotated[Path | None, typer.Option("--targets", metavar="FILE", help="Target weights or quantities, watched.")] = None,
    rebalance_every: Annotated[
        str, typer.Option("--rebalance-every", metavar="500ms|30s|1m|1h|session", help="How often drift from the targets is traded.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Reach the targets once, then end.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Real money; also needs live.sentence in config/trading.yaml.")] = False,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="Replay: first session of a new account.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Replay: last session; default: the last there is.")] = "",
    speed: Annotated[
        float,
        typer.Option("--speed", show_default=False, help="Replay: sessions a second; recorded feed: so many times as fast; 0 = at once."),
    ] = -1.0,
    recorded: Annotated[str, typer.Option("--recorded", metavar="ACCOUNT", help="Paper with --feed replay: whose recorded feed.")] = "",
    max_sessions: Annotated[int, typer.Option("--max-sessions", min=0, help="Stop after so many; 0 = no such limit.")] = 0,
    source: Annotated[str, typer.Option("--source", help="Replay: data source of a new account; default: config/universe.yaml.")] = "",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="A promoted bundle's folder instead of the registry's alias.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more to the terminal.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Trade: the promoted model over past sessions, or a file of targets on a broker. Ctrl-C stops after the step at hand.

    Exit of --once: 0 reached; 5: something was denied by a rule; 6: refused by the broker (the rest is traded all
    the same); 130: stopped before.
    """
    chosen = _chosen_mode(mode, broker, feed, targets=targets is not None)
    if chosen == "replay":
        _refuse_beside_replay(targets=targets is not None, once=once, live=live, rebalance_every=bool(rebalance_every))
        asked = _Replay(
            account=account, source=source, broker=broker, feed=feed, first=first, last=last, max_sessions=max_sessions,
            speed=max(speed, 0.0), bundle=bundle, verbose=verbose,
        )  # fmt: skip
        summary = _replay(asked)
    else:
        from live_executor.app_live import LiveRequest

        request = LiveRequest(
            mode=chosen, account=account, broker=broker, feed=feed, targets=targets, bundle=bundle, rebalance_every=rebalance_every,
            recorded=recorded, speed=1.0 if speed < 0.0 else speed, once=once, max_sessions=max_sessions, live=live, verbose=verbose,
        )  # fmt: skip
        summary = _on_the_wall_clock(request)
    _print(summary, as_json=as_json)
    raise typer.Exit(summary.exit_code)


class _Replay(NamedTuple):
    """What a replay was asked for."""

    account: str
    source: str
    broker: str
    feed: str
    first: str
    last: str
    max_sessions: int
    speed: float
    bundle: Path | None
    verbose: bool


def _replay(asked: _Replay) -> Summary:
    from live_executor.app import RunRequest
    from live_executor.brokers import BROKERS
    from live_executor.cli.reading import account_of, require_session
    from live_executor.feeds import FEEDS
    from live_executor.settings import read_settings

    _require("--broker", asked.broker, tuple(BROKERS))
    _require("--feed", asked.feed, tuple(FEEDS))
    settings = read_settings()
    request = RunRequest(
        account=account_of(settings, asked.account) if asked.account else settings.trading.account,
        source=asked.source,
        broker=asked.broker,
        feed=asked.feed,
        first=require_session(asked.first),
        last=require_session(asked.last),
        max_sessions=asked.max_sessions,
        seconds_per_session=1.0 / asked.speed if asked.speed else 0.0,
        bundle=asked.bundle,
        verbose=asked.verbose,
    )
    return _with_progress(settings, request)


def _chosen_mode(mode: str, broker: str, feed: str, *, targets: bool) -> str:
    """The mode named; without one, a broker on the wall clock means paper, and so does a file of targets where keys are set."""
    from hedgefund_core.errors import ConfigError

    _require("--mode", mode, _MODES)
    if mode:
        return mode
    if "alpaca" in {broker, feed}:
        return "paper"
    if not targets:
        return "replay"
    if not broker.startswith("simulated") and not os.environ.get("ALPACA_API_KEY"):
        raise ConfigError(
            "--targets trades on a broker, and ALPACA_API_KEY is not set",
            mend="set ALPACA_API_KEY and ALPACA_SECRET_KEY (.env.example says how; any Alpaca-compatible server will do), or trade the "
            "same file on the simulated broker: add --broker simulated --feed simulated",
        )
    return "paper"


def _refuse_beside_replay(*, targets: bool, once: bool, live: bool, rebalance_every: bool) -> None:
    given = {"--targets": targets, "--once": once, "--live": live, "--rebalance-every": rebalance_every}
    strange = [name for name, there in given.items() if there]
    if strange:
        raise typer.BadParameter(f"{strange[0]} needs --mode paper or --mode live", param_hint=strange[0])


def _require(option: str, given: str, known: tuple[str, ...]) -> None:
    from hedgefund_core.errors import ConfigError

    if given and given not in known:
        raise ConfigError(f"{option} {given}: there is none of this name here", mend=f"{option} {' | '.join(known)}")


def _on_the_wall_clock(request: LiveRequest) -> Summary:
    """Run, and say every now and then how things stand."""
    from live_executor.app_live import run_live
    from live_executor.settings import read_settings

    settings = read_settings()
    if not sys.stderr.isatty():
        return run_live(settings, request)
    from rich.console import Console

    with Console(stderr=True).status("connecting") as line:

        def tell(state: State, beat: Heartbeat) -> None:
            market = "open" if beat.market_open else "closed"
            gates = f"  entries held: {', '.join(beat.gates)}" if beat.gates else ""
            line.update(
                f"{state.account} {state.session} market {market}  equity {state.equity:,.0f}  cash {state.ledger.cash:,.0f}  "
                f"orders {len(state.working)}  {state.ladder.name}{gates}"
            )

        return run_live(settings, request, tell)


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
        "short": summary.short,
    }
    if as_json:
        show.as_json(facts)
    else:
        show.facts(list(facts.items()))
