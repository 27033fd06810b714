"""Backup and restore of an account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import AccountOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    for command in (backup, restore):
        app.command()(command)


def backup(
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write; default: backups/ACCOUNT-TIME.tar.gz below the data folder.")
    ] = None,
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """One file with journal, bundles, emergency log and the simulated broker's book; the executor may be running."""
    from live_executor.archive import backup as write
    from live_executor.cli.reading import account_of
    from live_executor.clock import SystemClock
    from live_executor.settings import read_settings

    settings, now = read_settings(), SystemClock().now()
    name = account_of(settings, account)
    target = to or settings.data / "backups" / f"{name}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    manifest = write(settings, name, target, at=now)
    if as_json:
        show.as_json({"file": str(target), **{field: getattr(manifest, field) for field in manifest.__struct_fields__}})
    else:
        show.line(f"account {name}: {manifest.seq} entries, {len(manifest.files)} files in {target}")
        show.line("keys are not in it: keep a copy of the whole folder config/keys, and not beside the backup")


def restore(
    file: Annotated[Path, typer.Argument(help="What `executor backup` wrote.", show_default=False)],
    account: AccountOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a backup and put it in place; what was there is moved aside. Reconcile with the broker before you trade."""
    from live_executor.archive import restore as put
    from live_executor.clock import SystemClock
    from live_executor.settings import read_settings

    found = put(read_settings(), file, account, at=SystemClock().now())
    if as_json:
        show.as_json(found)
        return
    show.line(f"account {found.account}: {found.entries} entries restored, the chain is unbroken")
    if found.moved_aside:
        show.line(f"what was there is in {found.moved_aside}")
    show.line("next: executor reconcile, then executor run: orders and fills since the backup are asked of the broker")
