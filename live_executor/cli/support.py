"""Help for whoever runs it: doctor, and the configuration with its origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption

if TYPE_CHECKING:
    import msgspec


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(doctor)
    config = typer.Typer(help="What is configured, and where each value comes from.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("show", config_show), ("validate", config_validate), ("schema", config_schema)):
        config.command(name)(command)
    app.add_typer(config, name="config")


def doctor(account: AccountOption = "", as_json: JsonOption = False) -> None:
    """Look at everything trading stands on; each finding comes with the command that mends it."""
    from live_executor.queries.doctor import examine

    findings = examine(account)
    show.rows(findings, ("check", "status", "found", "mend"), json=as_json)
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def config_show(
    origin: Annotated[bool, typer.Option("--origin", help="Also the file or variable each value comes from.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every setting the executor uses."""
    from live_executor.queries.configuration import every_setting
    from live_executor.settings import read_settings

    rows = every_setting(read_settings())
    if as_json:
        show.as_json(rows if origin else {f"{row.file}.{row.key}": row.value for row in rows})
    else:
        show.table(rows, ("file", "key", "value", "origin") if origin else ("file", "key", "value"))


def config_validate(as_json: JsonOption = False) -> None:
    """Check every file in the configuration folder; exit 3 naming file and key of the first mistake."""
    from live_executor.queries.configuration import validate

    names = validate()
    if as_json:
        show.as_json({"ok": True, "files": names})
    else:
        show.line(f"valid: {', '.join(names)}")


def config_schema(
    file: Annotated[str, typer.Argument(help="trading, universe, risk, models or sources; default: all.")] = "",
) -> None:
    """JSON schema of the configuration files: keys, types, defaults."""
    import msgspec

    from live_executor.queries.configuration import FILES

    if file and file not in FILES:
        raise typer.BadParameter(f"{file!r} is not one of {', '.join(FILES)}", param_hint="FILE")
    chosen: dict[str, type[msgspec.Struct]] = {file: FILES[file]} if file else FILES
    show.as_json({name: msgspec.json.schema(kind) for name, kind in chosen.items()})
