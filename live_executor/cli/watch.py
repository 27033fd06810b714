"""``executor watchdog``: the dead-man switch, a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from pathlib import Path

    from live_executor.watchdog import Fired


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(watchdog)


def watchdog(
    account: AccountOption = "",
    stale_seconds: Annotated[float, typer.Option("--stale-seconds", min=0.5, help="Silence of the executor that is too long.")] = 15.0,
    level: Annotated[int, typer.Option("--level", min=2, max=3, help="2 cancel all, 3 flatten.")] = 2,
    patience: Annotated[float, typer.Option("--patience", min=1.0, help="Seconds at the broker for each try.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Watch a live account's executor; when it falls silent while the market is open, stop the account at the broker."""
    from hedgefund_core.layout import account_folder
    from live_executor.cli.reading import account_of
    from live_executor.killing import log_beside
    from live_executor.settings import read_settings
    from live_executor.watchdog import KEY, Lease, Watch, Watchdog

    settings = read_settings()
    watch = Watch(
        data=settings.data,
        account=account_of(settings, account),
        stale_seconds=stale_seconds,
        level=level,
        broker_seconds=patience,
    )
    _refuse_without_broker(settings.data, watch.account)
    folder = settings.data / account_folder(watch.account)
    lease = Lease(folder)
    try:
        log_beside(folder)
        dog = Watchdog(watch, os.environ, tell=lambda fired: _tell(fired, as_json=as_json))
        if not dog.has_own_key:
            sys.stderr.write(f"warning: {KEY} is not set: executor and watchdog share one key, and whatever blocks one blocks both\n")
        ended: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _frame: ended.append(got))
        sys.stderr.write(f"watching account {watch.account}: level {level} after {stale_seconds:g} s of silence\n")
        dog.run(lambda: bool(ended))
    finally:
        lease.release()


def _refuse_without_broker(data: Path, account: str) -> None:
    """An account that is not there yet may come to be; one that trades inside its own process has no broker to go to."""
    from hedgefund_core.errors import ConfigError
    from hedgefund_core.layout import journal_file
    from live_executor.killing import where_is

    if (data / journal_file(account)).exists() and where_is(data, account) is None:
        raise ConfigError(f"account {account} trades at no broker: there is nothing to watch", mend="name another one with --account")


def _tell(fired: Fired, *, as_json: bool) -> None:
    if as_json:
        show.as_json(fired)
    else:
        end = "nothing is left" if fired.verified else "NOT VERIFIED: " + (fired.trouble or f"{len(fired.orders_left)} orders are open")
        show.line(f"fired: level {fired.level} of account {fired.account} after {fired.silent_seconds} s of silence; {end}")
    sys.stdout.flush()
