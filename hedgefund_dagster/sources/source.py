"""What a data source is: it fetches raw payloads, and reads bars and corporate actions out of them. It never makes a value up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats, PriceKind

BAR_FIELDS = ("open", "high", "low", "close", "volume", "adj_close")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPayload:
    """Bytes as they came. ``origin`` is an address without secrets, or a package and file name; ``ending`` names the kind of file."""

    content: bytes
    source: str
    dataset: str
    origin: str
    retrieved_at: datetime
    sha256: str
    ending: str = ""

    @classmethod
    def of(cls, source: str, dataset: str, content: bytes, *, origin: str, retrieved_at: datetime | str, ending: str = "") -> RawPayload:
        """A payload with its digest."""
        moment = datetime.fromisoformat(retrieved_at) if isinstance(retrieved_at, str) else retrieved_at
        digest = hashlib.sha256(content).hexdigest()
        return cls(content=content, source=source, dataset=dataset, origin=origin, retrieved_at=moment, sha256=digest, ending=ending)

    @property
    def suffix(self) -> str:
        """File name ending of the payload, so that a person can open what we kept; a bare ``.json`` is that of the sidecars."""
        if self.ending:
            return f"{self.ending}.raw" if self.ending == ".json" else self.ending
        name = self.origin.rsplit("/", 1)[-1]
        return name[name.index(".") :] if "." in name else ".bin"


class Partitioning(StrEnum):
    """How the bar asset of a source is cut for Dagster."""

    NONE = "none"
    YEARLY = "yearly"
    DAILY = "daily"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """A known bias of a data set, and which way it pushes results."""

    name: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known of a source before any of its rows is read.

    ``calendar`` is an exchange_calendars name, ``24/7`` or ``observed``; ``first`` and ``last`` bound the partitions
    (years or dates, ``last`` inclusive); ``sessions_per_year`` None = counted from the dates.
    ``fields`` are those the source carries at all: all others stay null.
    """

    name: str
    title: str
    price_kind: PriceKind
    calendar: str
    currency: str
    tick: float | None
    licence: str
    biases: tuple[Bias, ...]
    fields: tuple[str, ...]
    partitioning: Partitioning
    first: str = ""
    last: str = ""
    timezone: str = "America/New_York"
    sessions_per_year: float | None = 252.0
    has_corporate_actions: bool = False
    research_start: str = ""
    benchmark_name: str = "equal_weight"
    not_evaluable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBars:
    """Rows of a payload, column-wise, as read: not sorted, not cleaned. NaN = absent. ``ts`` only where the source states it."""

    symbol: NDArray[np.str_]
    session: NDArray[np.datetime64]
    fields: Mapping[str, Floats]
    raw_sha256: NDArray[np.str_]
    source_row: NDArray[np.int64]
    ts: NDArray[np.datetime64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceActions:
    """Corporate actions, column-wise; ``noise`` is the half width that rounding leaves in ``value``."""

    symbol: NDArray[np.str_]
    session: NDArray[np.datetime64]
    kind: NDArray[np.str_]
    value: Floats
    noise: Floats
    provenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBenchmark:
    """Level of the benchmark a source brings along."""

    name: str
    sessions: NDArray[np.datetime64]
    level: Floats


class Source(Protocol):
    """One file a vendor; the contract test walks over all of them."""

    @property
    def facts(self) -> SourceFacts:
        """What is known before reading."""

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """Payloads as they come, one a dataset or file."""

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Rows of the payloads (by dataset)."""

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """Splits and dividends, or None where the source knows nothing of them."""

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """Level of the source's own benchmark, or None: then equal weight of the same names."""
