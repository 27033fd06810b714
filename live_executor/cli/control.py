"""A person's hand on the account: halt, resume, flatten."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hedgefund_core.errors import ConfigError
from hedgefund_core.identifiers import is_account
from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from live_executor.commands import Latch

_PATIENCE_SECONDS = 10.0
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; journaled with your name.")]
PersonOption = Annotated[str, typer.Option("--person", help="Who; default: $USER.", show_default=False)]
WaitOption = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for a running executor to journal it.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (halt, resume, flatten):
        app.command()(command)


def halt(
    level: Annotated[int, typer.Option("--level", min=1, max=4, help="1 no new exposure, 2 cancel all, 3 flatten, 4 nothing leaves.")],
    reason: ReasonOption,
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop trading at a level; latched until a person resumes. Works when the executor hangs."""
    from live_executor.commands import Halt

    _ask(account, Halt(level=level, reason=_given(reason), person=_person(person)), wait, as_json=as_json)


def flatten(
    reason: ReasonOption,
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close every position (halt at level 3); stays armed until flat and until a person resumes."""
    from live_executor.commands import Halt

    _ask(account, Halt(level=3, reason=_given(reason), person=_person(person)), wait, as_json=as_json)


def resume(
    reason: ReasonOption,
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Trade again; drawdown is measured anew from here."""
    from live_executor.commands import Resume

    _ask(account, Resume(reason=_given(reason), person=_person(person)), wait, as_json=as_json)


def _ask(account: str, command: Latch, wait: float, *, as_json: bool) -> None:
    from live_executor.cli.desk import open_desk
    from live_executor.operations import ask

    try:
        desk = open_desk(account)
    except ConfigError:
        _halt_all_the_same(account, command)
        raise
    desk.reader.close()
    done = ask(desk.settings, desk.account, command, patience_seconds=wait)
    if as_json:
        show.as_json(done)
        return
    whose = "the running executor" if done.by == "executor" else "this command, since no executor runs"
    show.line(f"account {done.account} is {done.state.upper()} ({done.cause}); journaled by {whose} as entry {done.journal_seq}")


def _halt_all_the_same(account: str, command: Latch) -> None:
    """A mistake in a file must not keep anyone from halting."""
    from hedgefund_core.layout import LAST_ACCOUNT
    from live_executor.commands import Halt
    from live_executor.operations import leave_urgently

    data = Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data")
    marker = data / LAST_ACCOUNT
    name = account or (marker.read_text().strip() if marker.exists() else "")
    if isinstance(command, Halt) and is_account(name):
        leave_urgently(data, name, command)
        sys.stderr.write(f"HALT file made: account {name} is halted (level 4) at its executor's next step or start\n")


def _given(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("say why: the reason is journaled", param_hint="--reason")
    return reason.strip()


def _person(person: str) -> str:
    return person or os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"
