"""Who asks, why, and under which id: the same for every command that a person's name is journaled with."""

from __future__ import annotations

import os
from typing import Annotated

import typer

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; journaled with your name.")]
PersonOption = Annotated[str, typer.Option("--person", help="Who; default: $USER.", show_default=False)]


def who(person: str = "") -> str:
    """The name given, else that of whoever sits here."""
    return person or os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"


def why(reason: str) -> str:
    """A reason that says something, or a usage error."""
    if not reason.strip():
        raise typer.BadParameter("say why: the reason is journaled", param_hint="--reason")
    return reason.strip()


def new_request() -> str:
    """A request id nobody has used."""
    import secrets

    return secrets.token_hex(8)
