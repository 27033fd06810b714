"""What one research run leaves for the next asset: small JSON records and arrays under ``research/<book>/<mandate>/<cut>/``."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np

from hedgefund_core.backtest.trials import TrialIdentity
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.measures.measure import Measure
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import write_atomic

T = TypeVar("T", bound=msgspec.Struct)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured number with its interval; null = not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of a study.

    ``chosen`` = best variant of its model; ``challenger`` = chosen among the models; both by the declared rule.
    """

    number: int
    name: str
    kind: str
    params: dict[str, float | int | str]
    trial: str
    identity: TrialIdentity
    chosen_by: Figure
    ic: Figure
    chosen: bool
    challenger: bool
    run_id: str = ""


class WalkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the walk-forward found."""

    book: str
    mandate: str
    cut: str
    data_version: str
    features: tuple[str, ...]
    folds: int
    first_position: int
    tested_from: str
    judged_from: str
    candidates: tuple[Candidate, ...]

    def of(self, name: str) -> Candidate:
        """The best variant of a model."""
        return next(one for one in self.candidates if one.name == name and one.chosen)

    @property
    def has_challenger(self) -> bool:
        """Whether anything but the rule was researched."""
        return any(one.challenger for one in self.candidates)

    @property
    def challenger(self) -> Candidate:
        """The challenger of this cut."""
        return next(one for one in self.candidates if one.challenger)


def figure(measure: Measure) -> Figure:
    """A measure as stored."""
    return Figure(value=finite(measure.value), low=finite(measure.low), high=finite(measure.high))


def finite(value: float | None) -> float | None:
    """The number, or null where there is none (JSON has no NaN)."""
    return None if value is None or not np.isfinite(value) else float(value)


def folder(book: str, mandate: str, cut: str) -> str:
    """Where the records of a research run are."""
    return f"research/{book}/{mandate}/{cut}"


def write_record(lake: Lake, name: str, record: msgspec.Struct) -> None:
    """Store a record."""
    write_atomic(lake.root / name, msgspec.json.format(msgspec.json.encode(record), indent=1))


def read_record(lake: Lake, name: str, kind: type[T]) -> T:
    """Read a record; raises DataUnavailable if the asset before this one was not materialized for the cut."""
    path = lake.root / name
    if not path.exists():
        message = f"{name} is not stored"
        raise DataUnavailable(message, mend="materialize the asset before this one with the same cut and mandate")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        message = f"{name} is damaged: {error}"
        raise DataInvalid(message, mend="materialize the asset that writes it again") from error


def write_scores(lake: Lake, place: str, scores: list[Floats]) -> None:
    """Scores of all candidates, by number."""
    lake.write_arrays(f"{place}/scores.npz", {f"{number:03d}": values for number, values in enumerate(scores)})


def read_scores(lake: Lake, place: str) -> list[Floats]:
    """Scores of all candidates, in their order."""
    return [np.asarray(values, dtype=np.float64) for _, values in sorted(lake.read_arrays(f"{place}/scores.npz").items())]
