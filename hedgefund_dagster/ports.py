"""What the batch shell needs from outside, as protocols; adapters and tests implement them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from hedgefund_dagster.sources.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from hedgefund_core.schemas import Table
    from hedgefund_dagster.resources.lake import WriteResult
    from hedgefund_dagster.resources.lake_files import Manifest
    from hedgefund_dagster.resources.lake_versions import Appended

__all__ = ["ActionStore", "BarStore", "Clock", "Source"]


class Clock(Protocol):
    """Tells the time; nothing else in this shell does."""

    def now(self) -> datetime:
        """Aware UTC time."""


class BarStore(Protocol):
    """The bar table: versions by ``recorded_at``, added to and never rewritten; one suite (tests/contract) every store passes."""

    def write_bars(self, source: str, partition: str, rows: pa.Table, *, run_id: str = "") -> WriteResult:
        """Add the rows that are new or differ from their latest version: all of them or none; the same rows again add nothing."""

    def read_bars(self, source: str, recorded_as_of: datetime | None = None, *, known_by: datetime | None = None) -> pa.Table:
        """Per (symbol, session) the latest version recorded and known by then, by symbol, session, source_row.

        Raises DataUnavailable if no bar of the source was ever stored.
        """

    def first_bars(self, source: str) -> pa.Table:
        """Per (symbol, session) the version recorded first; raises like `read_bars`."""

    def writes(self, source: str) -> list[tuple[str, str]]:
        """Name and digest of every write: equal lists stand for equal versions."""

    def history(self, source: str) -> pa.Table:
        """Every version; raises like `read_bars`."""

    def newest(self, source: str) -> datetime | None:
        """``ts`` of the newest bar, None if there is none."""


class ActionStore(Protocol):
    """Tables of actions: versions of what vendors state (append, read), and the derived table a write replaces."""

    def append(self, table: Table, source: str, rows: pa.Table, *, run_id: str = "") -> Appended:
        """Add what is new or says something else; raises DataInvalid if two offered rows contradict each other under one key."""

    def read(self, table: Table, source: str, *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> pa.Table:
        """Per identity the version known last by then; raises DataUnavailable if nothing was ever stored."""

    def history(self, table: Table, source: str) -> pa.Table | None:
        """Every version in the order of recording, None if there is none."""

    def has(self, table: Table, source: str) -> bool:
        """Whether anything was ever appended."""

    def write_table(self, table: Table, source: str, rows: pa.Table, *, recorded_at: datetime, run_id: str = "") -> Manifest:
        """Replace a source's table."""

    def read_table(self, table: Table, source: str) -> pa.Table:
        """The table as written; raises DataUnavailable if there is none."""

    def has_table(self, table: Table, source: str) -> bool:
        """Whether there is one, be it empty."""

    def remove_table(self, table: Table, source: str) -> None:
        """Forget it."""
