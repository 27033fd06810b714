"""``executor model``: the models of an account, and a person's hand on which of them trades."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.person import PersonOption, ReasonOption, who, why
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    from hedgefund_core.trading.events import ModelLoaded
    from live_executor.cli.reading import Reading
    from live_executor.commands import LookAtAlias, RollBack

_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.05
FAILURE = 1
WaitOption = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the running executor to journal it.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    model = typer.Typer(help="The models of an account: list, go back, look at the alias.", no_args_is_help=True, rich_markup_mode=None)
    model.command("list")(list_models)
    model.command("rollback")(rollback)
    model.command("refresh")(refresh)
    app.add_typer(model, name="model")


def list_models(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Models the account used, oldest first: age, expiry, gate verdict, and which of them can still be gone back to."""
    from live_executor.cli.account import models

    models(account=account, as_json=as_json)


def rollback(
    reason: ReasonOption,
    person: PersonOption = "",
    wait: WaitOption = _PATIENCE_SECONDS,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Go back to the model that traded before. The alias is followed again once it points elsewhere. Exit 7: nobody runs."""
    from live_executor.commands import RollBack

    command = RollBack(reason=why(reason), person=who(person))
    reading = _running(account)
    before = len(_loads(reading))
    loads = _asked(reading, command, before, wait)
    if len(loads) == before:
        show.line("no model was gone back to; `executor status` and the log say why")
        raise typer.Exit(FAILURE)
    _print(loads[-1], as_json=as_json)


def refresh(wait: WaitOption = 0.0, account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Let the running executor look at the registry's alias now; what it finds trades from the session's end on."""
    from live_executor.commands import LookAtAlias

    reading = _running(account)
    loads = _asked(reading, LookAtAlias(), len(_loads(reading)), wait)
    if loads:
        _print(loads[-1], as_json=as_json)


def _running(account: str) -> Reading:
    from hedgefund_core.errors import DataUnavailable
    from live_executor.cli.reading import open_reading

    reading = open_reading(account)
    if not reading.running:
        message = f"no executor runs for account {reading.account}"
        raise DataUnavailable(message, mend=f"executor run --mode paper --account {reading.account}")
    return reading


def _asked(reading: Reading, command: LookAtAlias | RollBack, before: int, wait: float) -> list[ModelLoaded]:
    from live_executor.commands import send

    send(reading.settings.data, reading.account, command)
    deadline = time.monotonic() + wait
    while len(loads := _loads(reading)) == before and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return loads


def _loads(reading: Reading) -> list[ModelLoaded]:
    from hedgefund_core.trading.events import ModelLoaded

    found = (entry.frame for entry in reading.reader.read(kinds=("model_loaded",)))
    return [frame for frame in found if isinstance(frame, ModelLoaded)]


def _print(model: ModelLoaded, *, as_json: bool) -> None:
    if as_json:
        show.as_json(model)
        return
    whose = f", gone back to by {model.person}: {model.reason}" if model.person else f", alias {model.alias}"
    show.line(f"model {model.name} version {model.version} ({model.digest[:12]}) is in use{whose}")
