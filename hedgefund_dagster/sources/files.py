"""Bring your own data: a folder of CSV or Parquet files with symbol, date (or ts), close and, where you have them, the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from hedgefund_core.configuration import FilesSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_dagster.sources.derived import actions_from_adjusted
from hedgefund_dagster.sources.files_reader import read_payload
from hedgefund_dagster.sources.source import (
    BAR_FIELDS,
    Bias,
    Partitioning,
    RawPayload,
    SourceActions,
    SourceBars,
    SourceBenchmark,
    SourceFacts,
)

NAME = "files"
MIN_SYMBOLS = 8
MIN_YEARS = 3
MIN_FURTHER_SESSIONS = 250
_ENDINGS = (".csv", ".csv.gz", ".parquet")
_SETTING = "set `files.folder` in config/sources.yaml, or run with SOURCE=files DIR=your/folder"


class Files:
    """The user's folder; what is assumed of it stands in ``facts`` and is printed."""

    def __init__(self, settings: FilesSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> SourceFacts:
        """From configuration: any market, any calendar."""
        settings = self._settings
        return SourceFacts(
            name=NAME,
            title="your own files",
            price_kind=PriceKind(settings.price_kind),
            calendar=settings.calendar,
            currency=settings.currency,
            tick=settings.tick,
            licence="yours",
            biases=(
                Bias(name="survivorship", direction="flatters long-only books if names that died are not in your files"),
                Bias(name="assumed knowledge time", direction="flatters if your vendor published later than 15 minutes after the close"),
            ),
            fields=BAR_FIELDS,
            partitioning=Partitioning.NONE,
            timezone=self._zone,
            sessions_per_year=settings.sessions_per_year,
            has_corporate_actions=True,
            benchmark_name=settings.benchmark,
        )

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """Every CSV and Parquet file of the folder."""
        folder = self._folder()
        paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(_ENDINGS))
        if not paths:
            raise DataInvalid(f"the folder {folder} holds no {', '.join(_ENDINGS)} file", mend=f"put your files there, or {_SETTING}")
        _refuse_same_names(paths)
        return tuple(
            RawPayload.of(NAME, _dataset(path), path.read_bytes(), origin=f"{folder.name}/{path.name}", retrieved_at=retrieved_at)
            for path in paths
        )

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Rows of all files; raises DataInvalid naming file, row and column, or saying what is too short."""
        parts = [read_payload(payload, self._zone) for _, payload in sorted(payloads.items())]
        stamped = [part.ts for part in parts if part.ts is not None]
        if stamped and len(stamped) != len(parts):
            raise DataInvalid("some files have a `ts` column and others a `date` column", mend="use one of the two in all files")
        bars = SourceBars(
            symbol=np.concatenate([part.symbol for part in parts]),
            session=np.concatenate([part.session for part in parts]),
            fields={name: np.concatenate([part.fields[name] for part in parts]) for name in BAR_FIELDS},
            raw_sha256=np.concatenate([part.raw_sha256 for part in parts]),
            source_row=np.concatenate([part.source_row for part in parts]),
            ts=np.concatenate(stamped) if stamped else None,
        )
        _refuse_too_little(bars)
        return bars

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """Derived from adj_close for raw prices; adjusted prices carry their actions inside."""
        if self.facts.price_kind is not PriceKind.RAW:
            return None
        return actions_from_adjusted(self.bars(payloads), tick=self._settings.tick)

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """None: a symbol of the panel or equal weight, by name in ``facts``."""
        return None

    @property
    def _zone(self) -> str:
        """Where a session's date is told: a market that never closes has no place of its own."""
        return "UTC" if self._settings.calendar == "24/7" else self._settings.timezone

    def _folder(self) -> Path:
        if not self._settings.folder:
            raise DataInvalid("no folder is named for the source `files`", mend=_SETTING)
        folder = Path(self._settings.folder).expanduser()
        if not folder.is_dir():
            raise DataInvalid(f"the folder {folder} does not exist", mend=_SETTING)
        return folder


def _dataset(path: Path) -> str:
    """Name of the raw dataset of a file: its name, made safe."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.name)


def _refuse_same_names(paths: list[Path]) -> None:
    """Two files of one safe name would overwrite each other: rows would be lost in silence."""
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(_dataset(path), path)
        if other is not path:
            raise DataInvalid(f"the files {other.name} and {path.name} cannot be told apart when stored", mend="rename one of the two")


def _refuse_too_little(bars: SourceBars) -> None:
    """Fewer names or sessions than the main job needs: say what is missing."""
    symbols, sessions = np.unique(bars.symbol), np.unique(bars.session)
    if len(symbols) < MIN_SYMBOLS:
        missing = MIN_SYMBOLS - len(symbols)
        message = f"{len(symbols)} symbols ({', '.join(symbols.tolist())}) are too few: {MIN_SYMBOLS} are needed, {missing} are missing"
        raise DataInvalid(message, mend="add the bars of further symbols to the folder")
    years = max((sessions[-1] - sessions[0]).astype(int) / 365.25, 1e-9)
    needed = int(np.ceil(MIN_YEARS * min(len(sessions) / years, 366.0))) + MIN_FURTHER_SESSIONS
    if len(sessions) < needed:
        message = (
            f"{len(sessions)} sessions from {sessions[0]} to {sessions[-1]} are too few: "
            f"{MIN_YEARS} years and {MIN_FURTHER_SESSIONS} sessions ({needed}) are needed, {needed - len(sessions)} are missing"
        )
        raise DataInvalid(message, mend="add a longer history to the folder")
