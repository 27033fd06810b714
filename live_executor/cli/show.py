"""How results are printed: JSON for programs, tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import msgspec
    from rich.console import Console

AccountOption = Annotated[str, typer.Option("--account", help="Account; default: the one last used.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDE = 180
_STYLES = {"breach": "bold red", "warn": "yellow", "ok": "green", "denied": "red", "rejected": "red", "filled": "green"}


def as_json(value: object) -> None:
    """Print a value as JSON: decimals as strings, times RFC 3339, NaN as null."""
    import msgspec

    encoded = msgspec.json.Encoder(decimal_format="string").encode(value)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def rows(found: Sequence[msgspec.Struct], columns: Sequence[str], *, empty: str = "nothing to show", json: bool) -> None:
    """Print rows as JSON with all their fields, or as a table of some of them."""
    if json:
        as_json(found)
    else:
        table(found, columns, empty=empty)


def table(rows: Sequence[msgspec.Struct], columns: Sequence[str], *, title: str = "", empty: str = "nothing to show") -> None:
    """Print some fields of rows as a table."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        sys.stdout.write(f"{empty}\n")
        return
    shown = Table(title=title or None, title_justify="left")
    for column in columns:
        shown.add_column(column.replace("_", " "), justify="right" if _is_number(rows, column) else "left", overflow="fold")
    for row in rows:
        cells = [text(getattr(row, column)) for column in columns]
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    _console().print(shown)


def facts(pairs: Sequence[tuple[str, object]], *, title: str = "") -> None:
    """Print names and values beside each other."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title or None, title_justify="left", show_header=False, box=None)
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    for name, value in pairs:
        cell = text(value)
        shown.add_row(name, Text(cell, style=_STYLES.get(cell, "")))
    _console().print(shown)


def _console() -> Console:
    """As wide as the terminal; wide enough for a row where the output goes to a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def line(words: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{words}\n")


def text(value: object) -> str:
    """A value in a table: numbers short, absent ones as a dash."""
    if value is None or value in ("", ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(text, value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():,f}" if value == value.to_integral_value() else f"{value:,.4f}".rstrip("0")
    return str(value)


def _float(value: float) -> str:
    if 0.0 < value < sys.float_info.min:
        return "above 0"  # the limit of what must not be zero
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _is_number(rows: Sequence[msgspec.Struct], column: str) -> bool:
    values = [value for row in rows if (value := getattr(row, column)) is not None]
    return bool(values) and all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values)
