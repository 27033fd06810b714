"""Who a symbol was, what a universe held, which sector a name was in: on a day, as known and recorded by a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.quant.symbols import Spans
from hedgefund_core.schemas import SECTORS, SYMBOL_HISTORY, UNIVERSE_MEMBERSHIP
from hedgefund_dagster.resources.lake_files import column_texts
from hedgefund_dagster.resources.lake_versions import VersionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When somebody looks: ``known_by`` None = everything, ``recorded_by`` pins the read."""

    known_by: datetime | None = None
    recorded_by: datetime | None = None


NOW = Moment()


class Reference:
    """Spans of the reference tables of a source, for the pure functions of `hedgefund_core.quant.symbols`."""

    def __init__(self, versions: VersionStore) -> None:
        self._versions = versions

    def instruments(self, source: str, moment: Moment = NOW) -> Spans:
        """Symbol -> instrument_id by the day."""
        rows = self._versions.read(SYMBOL_HISTORY, source, known_by=moment.known_by, recorded_by=moment.recorded_by)
        return _spans(rows, "instrument_id")

    def universe(self, source: str, universe: str, moment: Moment = NOW) -> Spans:
        """Members of a universe by the day."""
        rows = self._versions.read(UNIVERSE_MEMBERSHIP, source, known_by=moment.known_by, recorded_by=moment.recorded_by)
        return _spans(rows.filter(pc.equal(rows.column("universe"), universe)), "universe")

    def sectors(self, source: str, scheme: str, moment: Moment = NOW) -> Spans:
        """Symbol -> sector by the day."""
        rows = self._versions.read(SECTORS, source, known_by=moment.known_by, recorded_by=moment.recorded_by)
        return _spans(rows.filter(pc.equal(rows.column("scheme"), scheme)), "sector")


def _spans(rows: pa.Table, value: str) -> Spans:
    return Spans(
        symbol=column_texts(rows, "symbol"),
        value=column_texts(rows, value),
        valid_from=rows.column("valid_from").to_numpy().astype("datetime64[D]"),
        valid_until=rows.column("valid_until").to_numpy().astype("datetime64[D]"),
    )
