"""Which raw payload a bar was read from, and in which row of it: the lake's validated bars say so of every bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec

from hedgefund_core.layout import table_file
from hedgefund_core.schemas import VALIDATED_BARS

_COLUMNS = ("session", "close", "raw_sha256", "source_row")
_NEAR = 1e-9


class RawLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the lake has a bar from now."""

    close: float
    raw_sha256: str
    source_row: int

    def is_of(self, close: float | None) -> bool:
        """Whether it is the same bar; a restated or corrected one has another close."""
        return close is not None and abs(self.close - close) <= _NEAR * abs(self.close)


def raw_lines(data: Path, source: str, symbol: str, sessions: Sequence[str]) -> dict[str, RawLine]:
    """Session -> payload and row of a symbol's bar; a session that the lake does not have is left out."""
    path = data / table_file(VALIDATED_BARS.name, source)
    if not sessions or not path.exists():
        return {}
    import pyarrow.parquet as pq

    days = [date.fromisoformat(session) for session in sessions]
    rows = pq.read_table(path, columns=list(_COLUMNS), filters=[("symbol", "=", symbol), ("session", "in", days)]).to_pylist()
    return {
        str(row["session"]): RawLine(close=row["close"], raw_sha256=row["raw_sha256"], source_row=row["source_row"])
        for row in rows
        if row["close"] is not None and row["raw_sha256"]
    }
