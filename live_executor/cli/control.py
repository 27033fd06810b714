"""A person's hand on the account: halt, resume, flatten."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hedgefund_core.errors import ConfigError, JournalError
from hedgefund_core.identifiers import is_account
from live_executor.cli import show
from live_executor.cli.person import PersonOption, ReasonOption, who, why
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from live_executor.commands import Halt, Latch
    from live_executor.killing import Killed, Where
    from live_executor.operations import Done
    from live_executor.settings import Settings

_PATIENCE_SECONDS, _SHORT_PATIENCE_SECONDS = 10.0, 2.0
_BROKER_SECONDS = 60.0
WaitOption = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for a running executor to journal it.")]
KillWaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait", min=0.0, help="Seconds to wait for a running executor to journal it; default: 10, on a live account 2, then the broker."
    ),
]
BrokerOption = Annotated[float, typer.Option("--patience", min=0.0, help="Live account: seconds at the broker until nothing may be left.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (halt, resume, flatten):
        app.command()(command)


def halt(
    level: Annotated[int, typer.Option("--level", min=1, max=4, help="1 no new exposure, 2 cancel all, 3 flatten, 4 nothing leaves.")],
    reason: ReasonOption,
    person: PersonOption = "",
    wait: KillWaitOption = None,
    patience: BrokerOption = _BROKER_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop trading at a level; latched until a person resumes. Works when the executor hangs: levels 2 and 3 reach the broker."""
    from live_executor.commands import Halt

    _halt(account, Halt(level=level, reason=why(reason), person=who(person)), wait, patience, as_json=as_json)


def flatten(
    reason: ReasonOption,
    person: PersonOption = "",
    wait: KillWaitOption = None,
    patience: BrokerOption = _BROKER_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close every position (halt at level 3); stays armed until flat and until a person resumes."""
    from live_executor.commands import Halt

    _halt(account, Halt(level=3, reason=why(reason), person=who(person)), wait, patience, as_json=as_json)


def resume(
    reason: ReasonOption,
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Trade again; drawdown is measured anew from here."""
    from live_executor.commands import Resume

    _ask(account, Resume(reason=why(reason), person=who(person)), wait, as_json=as_json)


def _halt(account: str, command: Halt, wait: float | None, patience: float, *, as_json: bool) -> None:
    """A live account's levels 2 and 3 go to the broker where the executor does not; everything else is asked for and waited for."""
    from hedgefund_core.errors import HedgefundError
    from live_executor.settings import data_folder, read_settings

    where = _where(account) if command.level in {2, 3} else None
    if where is None:
        _ask(account, command, _PATIENCE_SECONDS if wait is None else wait, as_json=as_json)
        return
    try:
        settings: Settings | None = read_settings()
    except HedgefundError as error:  # a mistake in a file must not keep anyone from halting
        settings = None
        sys.stderr.write(f"note: {error.message}\n")
    from live_executor.killing import kill

    name, place = where
    done = kill(
        data_folder(),
        name,
        place,
        command,
        wait_seconds=_SHORT_PATIENCE_SECONDS if wait is None else wait,
        broker_seconds=patience,
        settings=settings,
    )
    _tell(done, as_json=as_json)


def _where(account: str) -> tuple[str, Where] | None:
    """The account meant and the broker it trades at; None of a replay and of no account at all."""
    from live_executor.killing import where_is
    from live_executor.settings import data_folder, last_account

    data = data_folder()
    name = account or last_account(data)
    found = where_is(data, name) if is_account(name) else None
    return None if found is None else (name, found)


def _tell(done: Done | Killed, *, as_json: bool) -> None:
    from live_executor.killing import Killed

    if as_json:
        show.as_json(done)
    elif not isinstance(done, Killed):
        _print_done(done)
    else:
        _print_killed(done)
    raise typer.Exit(done.exit_code)


def _print_killed(done: Killed) -> None:
    whose = "the executor adopts it when it can" if not done.journal_seq else f"journaled as entry {done.journal_seq}"
    show.line(f"account {done.account} is {done.state.upper()} ({done.cause}); done at the broker by this command, {whose}")
    if done.verified:
        show.line(f"verified by query: {_nothing(done.state)}")
        for symbol, quantity in done.positions_left.items():
            show.line(f"  stays: {symbol} {quantity}, traded in whole shares only")
        return
    show.line("NOT VERIFIED" + ("" if done.answered else ": the broker never answered"))
    for order in done.orders_left:
        show.line(f"  open: {order}")
    for symbol, quantity in done.positions_left.items():
        show.line(f"  held: {symbol} {quantity}")
    if done.closing_orders:
        show.line(f"  {len(done.closing_orders)} closing orders were sent; what is not filled waits at the broker")
    if done.trouble:
        show.line(f"  last trouble: {done.trouble}")
    show.line("mend: give the command again (it is safe), or act at the broker's own page")


def _ask(account: str, command: Latch, wait: float, *, as_json: bool) -> None:
    from live_executor.cli.reading import open_reading
    from live_executor.operations import ask

    try:
        reading = open_reading(account)
    except (ConfigError, JournalError):
        _halt_all_the_same(account, command)
        raise
    reading.reader.close()
    done = ask(reading.settings, reading.account, command, patience_seconds=wait)
    _tell(done, as_json=as_json)


def _print_done(done: Done) -> None:
    whose = "the running executor" if done.by == "executor" else "this command, since no executor runs"
    cause = f" ({done.cause})" if done.cause else ""
    show.line(f"account {done.account} is {done.state.upper()}{cause}; journaled by {whose} as entry {done.journal_seq}")
    if done.verified:
        show.line(f"verified by query: {_nothing(done.state)}")
    elif done.verified is False:
        show.line(f"NOT VERIFIED yet: {', '.join(done.left)}; the executor stays at it until nothing is")


def _nothing(state: str) -> str:
    return "nothing is open" + (", nothing is held that an order can close" if state == "flattening" else "")


def _halt_all_the_same(account: str, command: Latch) -> None:
    """A mistake in a file, or a journal that cannot be read, must not keep anyone from halting an account that there is."""
    from hedgefund_core.layout import account_folder
    from live_executor.commands import Halt
    from live_executor.operations import leave_urgently
    from live_executor.settings import data_folder, last_account

    data = data_folder()
    name = account or last_account(data)
    if isinstance(command, Halt) and is_account(name) and (data / account_folder(name)).is_dir():
        leave_urgently(data, name, command)
        sys.stderr.write(f"HALT file made: account {name} is halted (level 4) at its executor's next step or start\n")
