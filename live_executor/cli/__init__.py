"""The command line: one file a command group. What is heavy is imported inside the commands, so that ``--help`` stays quick."""

from __future__ import annotations

from typing import Annotated

import typer

from live_executor.cli import account, archive, control, decisions, model, proof, run, simulate, support, trade, watch
from live_executor.cli.errors import Root

app = typer.Typer(
    cls=Root,
    name="executor",
    help="Trades the promoted model, and shows and proves what it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the rich help costs 0.2 s of imports, two thirds of what `--help` may take
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error (works after the command too).")] = False,
) -> None:
    """Trades the promoted model, and shows and proves what it did."""


for group in (run, account, trade, decisions, control, model, proof, archive, simulate, support, watch):
    group.register(app)
