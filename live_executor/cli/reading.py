"""What a reading command works on: the settings, the account and its journal, opened read-only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.identifiers import is_account
from hedgefund_core.layout import LIVE, account_folder, journal_file
from live_executor.app import bundles_of
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.live import heartbeat
from live_executor.live.heartbeat import Heartbeat
from live_executor.queries.story import BundleReader, Recorded, Story, tell
from live_executor.settings import Settings, last_account, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An account that is read: settings, name and journal."""

    settings: Settings
    account: str
    reader: JournalReader

    @property
    def folder(self) -> Path:
        """The account's folder."""
        return self.settings.data / account_folder(self.account)

    @property
    def bundles(self) -> BundleReader:
        """Reads the account's kept bundles."""
        return bundles_of(self.settings, self.account)

    @property
    def beat(self) -> Heartbeat | None:
        """The running executor's heartbeat; None of a replay."""
        return heartbeat.read(self.folder)

    @property
    def running(self) -> bool:
        """Whether an executor holds the account now."""
        return holder_of(self.folder) is not None

    def story(self, until_seq: int | None = None) -> Story:
        """The account, now or just before an entry; raises DataUnavailable before it is opened."""
        if not self.reader.head.seq:
            raise DataUnavailable(
                f"account {self.account!r} is not opened yet: its executor has begun and not read the broker's books or the panel",
                mend=f"executor doctor --account {self.account}; then the same `executor run` again",
            )
        return tell(self.reader.read(), self.bundles, until_seq=until_seq)


def account_of(settings: Settings, account: str) -> str:
    """The account named, else the one last used, else the configured one."""
    if account:
        if not is_account(account):
            message = f"{account!r} is not an account name (letters, digits and . _ -)"
            raise typer.BadParameter(message, param_hint="--account")
        return account
    return last_account(settings.data) or settings.trading.account


def open_reading(account: str) -> Reading:
    """Settings, account and journal; a missing journal names the accounts there are and the command that makes one."""
    settings = read_settings()
    name = account_of(settings, account)
    path = settings.data / journal_file(name)
    if not path.exists():
        known = sorted(found.parent.name for found in (settings.data / LIVE).glob("*/journal.sqlite"))
        there = f"; accounts there are: {', '.join(known)}" if known else ""
        raise DataUnavailable(
            f"account {name!r} has no journal under {settings.data}{there}",
            mend=f"make demo; or executor run --targets FILE --account {name} (--broker simulated --feed simulated needs no key)",
        )
    return Reading(settings=settings, account=name, reader=JournalReader(path))


def decision_named(story: Story, wanted: str) -> Recorded:
    """A decision by id, a unique beginning of one, or `last`."""
    if wanted == "last" and story.decisions:
        return story.decisions[-1]
    found = [recorded for recorded in story.decisions if recorded.made.decision_id.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(recorded.made.decision_id for recorded in (found or story.decisions)[-5:]) or "none"
        what = "no decision begins with" if not found else f"{len(found)} decisions begin with"
        raise typer.BadParameter(f"{what} {wanted!r}; for example: {known}", param_hint="ID")
    return found[0]


def order_named(story: Story, wanted: str) -> str:
    """An order by its client id, the broker's id, or a unique beginning of the client id."""
    exact = [key for key, order in story.orders.items() if wanted and wanted in {key, order.broker_order_id}]
    found = exact or [key for key in story.orders if wanted and key.startswith(wanted)]  # an empty variable of a shell names nothing
    if len(found) != 1:
        known = ", ".join((found or list(story.orders))[-3:]) or "none"
        what = "no order begins with" if not found else f"{len(found)} orders begin with"
        raise typer.BadParameter(f"{what} {wanted!r}; for example: {known}", param_hint="ORDER_ID")
    return found[0]


def column_of(story: Story, symbol: str) -> int:
    """Place of a symbol among the account's instruments; an unknown one is a usage error."""
    symbols = [instrument.symbol for instrument in story.state.instruments]
    if symbol not in symbols:
        raise typer.BadParameter(f"unknown symbol {symbol!r}; the account trades {', '.join(symbols)}", param_hint="SYMBOL")
    return symbols.index(symbol)


def require_session(session: str, hint: str = "session") -> str:
    """An ISO date, or a usage error."""
    from datetime import date

    try:
        return date.fromisoformat(session).isoformat() if session else ""
    except ValueError as error:
        raise typer.BadParameter(f"{session!r} is not a date like 2015-06-30", param_hint=hint) from error
