"""Date-major as-of reads of daily bars: every version as mapped columns, laid onto a grid when a moment is named.

The columns are derived from the Parquet files and made anew when a write has added to them; losing them costs time only.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.point_in_time import CellVersions, Grid, laid_out
from hedgefund_dagster.resources.lake_bars import bar_folders, bar_versions
from hedgefund_dagster.resources.lake_compaction import write_history

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELDS = ("open", "high", "low", "close", "volume", "adj_close")


@dataclass(frozen=True, slots=True, kw_only=True)
class BarColumns:
    """Every version of every bar of a source, in the order of recording (then of rows), mapped from disk."""

    folder: pathlib.Path

    def column(self, name: str) -> Any:  # noqa: ANN401 - of the type the column was saved with
        """One column; nothing is read before it is used."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def versions(self) -> CellVersions:
        """Cells and times of all versions."""
        return CellVersions(
            sessions=self.column("sessions"),
            symbols=tuple(self.column("symbols").tolist()),
            cell=self.column("cell"),
            known_at=self.column("known_at"),
            recorded_at=self.column("recorded_at"),
        )


class GridStore:
    """As-of grids of the bars of a source, for a lake on this machine's disk."""

    def __init__(self, root: UPath) -> None:
        self._root = root

    def read(self, source: str, field: str = "close", *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> Grid:
        """One field of all bars, date-major (n_sessions, n_symbols), as a reader at a moment would have seen it.

        The same versions as `Lake.read_bars`; of rows one payload repeats the last counts. Bars as stored, not validated: what
        validation let through is `Lake.read_panel`. Raises DataUnavailable if the source has no bars.
        """
        if field not in FIELDS:
            message = f"bars have no field {field!r}"
            raise DataInvalid(message, mend=f"one of {', '.join(FIELDS)}")
        columns = self.columns(source)
        return laid_out(columns.versions(), columns.column(field), known_by=_moment(known_by), recorded_by=_moment(recorded_by))

    def columns(self, source: str) -> BarColumns:
        """The mapped columns of the present versions; made if a write has come since."""
        if not isinstance(self._root, pathlib.Path):
            message = f"{self._root} is no folder of this machine: its columns cannot be mapped"
            raise DataInvalid(message, mend="read with Lake.read_bars")
        above = pathlib.Path(str(self._root)) / layout.grids_folder(source)
        writes = self.writes(source)
        place = above / hashlib.sha256(repr(sorted(writes)).encode()).hexdigest()[:24]
        if not writes or not place.exists():
            _make(place, self.history(source))
        return BarColumns(folder=place)

    def writes(self, source: str) -> list[tuple[str, str]]:
        """Name and digest of every write: the columns are those of exactly these."""
        return [(w.file, w.sha256) for folder in bar_folders(self._root, source) for w in write_history(folder)]

    def history(self, source: str) -> pa.Table:
        """Every version of every bar; raises DataUnavailable if there is none."""
        return bar_versions(self._root, source)


def _make(place: pathlib.Path, rows: pa.Table) -> None:
    """Columns under a temporary name, renamed when whole; those of earlier states go."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, values in _columns(rows).items():
        np.save(temporary / f"{name}.npy", values, allow_pickle=False)
    try:
        temporary.rename(place)
    except OSError:  # another reader was faster
        shutil.rmtree(temporary, ignore_errors=True)
    for other in place.parent.iterdir():
        if other != place and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)


def _columns(rows: pa.Table) -> dict[str, NDArray[np.generic]]:
    encoded = rows.column("symbol").combine_chunks().dictionary_encode()
    whole = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    symbols, rank = np.unique(np.array(whole.dictionary.to_pylist(), dtype=np.str_), return_inverse=True)
    column = rank[whole.indices.to_numpy()]
    sessions, line = np.unique(rows.column("session").to_numpy().astype("datetime64[D]"), return_inverse=True)
    recorded = rows.column("recorded_at").cast(pa.int64()).to_numpy()
    order = np.lexsort((rows.column("source_row").to_numpy(), recorded))
    found: dict[str, NDArray[np.generic]] = {
        "symbols": symbols,
        "sessions": sessions,
        "cell": (line * len(symbols) + column)[order].astype(np.int64),
        "known_at": rows.column("known_at").cast(pa.int64()).to_numpy()[order],
        "recorded_at": recorded[order],
    }
    for name in FIELDS:
        values: NDArray[np.float64] = rows.column(name).to_numpy().astype(np.float64)
        found[name] = values[order]
    return found


def _moment(value: datetime | None) -> int | None:
    return None if value is None else int(value.timestamp() * 1_000_000)
