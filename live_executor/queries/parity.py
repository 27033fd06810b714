"""What an account did against the backtest of its sessions, with the lake and the bundles as they are now."""

from __future__ import annotations

from collections.abc import Iterator

from hedgefund_core.backtest.parity import CAUSES, BundleAtHand, Parity, parity
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import DataUnavailable, ModelMismatch, ModelUnavailable
from hedgefund_core.quant.bars import Panel
from hedgefund_core.trading.events import AccountOpened
from live_executor.journals.sqlite import JournalReader
from live_executor.panels import read_panel
from live_executor.queries.suspects import SuspectReader, suspect_reader
from live_executor.settings import Settings


def compare(reader: JournalReader, settings: Settings, account: str, session: str) -> Parity:
    """The report; raises DataUnavailable where the account has closed no such session on bars."""
    opened = next((entry.frame for entry in reader.read(kinds=("account_opened",))), None)
    source = opened.source if isinstance(opened, AccountOpened) else ""
    frames = (entry.frame for entry in reader.read())
    found = parity(frames, _panel(settings, source), _at_hand(suspect_reader(settings, account)), session=session)
    if not found.sessions:
        what = f"session {session}" if session else "a session"
        raise DataUnavailable(
            f"account {account} has not closed {what} on bars of the lake",
            mend="executor fills shows what an account of targets traded",
        )
    return found


def lines(found: Parity) -> Iterator[str]:
    """The report in words."""
    difference = found.live_pnl - found.backtest_pnl
    yield (
        f"{len(found.sessions)} sessions: live {found.live_pnl:,.2f}, backtest of the same sessions {found.backtest_pnl:,.2f}, "
        f"difference {difference:,.2f}"
    )
    yield "by cause: " + ", ".join(f"{cause} {found.by_cause[cause]:,.2f}" for cause in CAUSES)


def _panel(settings: Settings, source: str) -> Panel | None:
    try:
        return read_panel(settings.data, source)
    except DataUnavailable:
        return None


def _at_hand(read: SuspectReader) -> BundleAtHand:
    def at_hand(digest: str) -> tuple[Bundle | None, str]:
        try:
            return read(digest)
        except (ModelMismatch, ModelUnavailable) as error:
            return None, error.message

    return at_hand
